"""Consistency: are predicted dimensions where the emotion in the truth lets expect them?

Anger is aroused, sadness is not. Ranges and emotions are those of ser-tests (Derington et al. 2023,
arXiv 2312.06270, correctness consistency).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipelines.audit_config import Minimums
from pipelines.transforms.group_statistics import Row, group_row
from pipelines.transforms.group_sums import BY_EMOTION, RANGES, Group
from pipelines.transforms.metric_values import NO_SEGMENTS, MetricValues
from ser_model.metrics.intervals import Scale

BINS_OF_RANGE: Mapping[str, tuple[str, ...]] = {
    "low": RANGES[:2],
    "neutral": RANGES[1:4],
    "high": RANGES[3:],
}
"""At most .45; .3 to .6; .55 and more. Neighbours overlap."""

EXPECTED_RANGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "arousal": {
        "low": ("boredom", "sadness"),
        "neutral": ("neutral",),
        "high": ("anger", "fear", "surprise"),
    },
    "dominance": {
        "low": ("fear", "sadness"),
        "neutral": ("happiness", "neutral", "surprise"),
        "high": ("anger",),
    },
    "valence": {
        "low": ("anger", "disgust", "fear", "frustration", "sadness"),
        "neutral": ("boredom", "neutral"),
        "high": ("happiness",),
    },
}
"""By dimension and range the emotions that are expected there."""


def expected_range_rows(target: str, groups: Sequence[Group], minimums: Minimums) -> Iterator[Row]:
    """Yield, for each emotion that a range is known of, the share of its segments in the range.

    Args:
        target: a dimension.
        groups: of emotions in the truth, "emotion=anger".
        minimums: below them an emotion is suppressed.
    """
    by_name = {group.name: group for group in groups}
    for place, emotions in EXPECTED_RANGES[target].items():
        for emotion in emotions:
            group = by_name.get(f"{BY_EMOTION}={emotion}")
            if group is None:
                continue
            at = [group.sums.bins.index(b) for b in BINS_OF_RANGE[place] if b in group.sums.bins]
            inside = group.sums.counts[..., at].sum(axis=(-2, -1))
            total = group.sums.num_segments
            metric = MetricValues(
                name="expected_range_share",
                values=np.where(total > 0, inside / np.where(total > 0, total, 1.0), np.nan),
                why_undefined=NO_SEGMENTS,
                scale=Scale.SHARE,
            )
            yield group_row(group, metric, minimums)
