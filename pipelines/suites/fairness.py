"""The fairness tests of ser-tests (Derington et al. 2023, arXiv 2312.06270).

Every threshold is of an absolute difference between a group and the rest; ser-tests holds the same
threshold against the difference between a group and all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipelines.suites.corpus import REST_SUFFIX, Corpus
from pipelines.suites.suite_test import Comparison, SuiteTest
from pipelines.transforms.suite_columns import (
    LANGUAGE_AND_SENTIMENT,
    PITCH_GROUP,
    PITCH_GROUPS,
    SENTIMENTS,
)
from ser_model.metrics.bins import QUARTERS

ALL_SUFFIX = "-all"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTest:
    """A test of each group of a grouping.

    Attributes:
        name: as the suite calls it, without the group.
        metric: the gap, without brackets where it is one of each part.
        threshold: of the absolute difference.
        of_each_part: whether there is one of each quarter of the scale, or each emotion.
    """

    name: str
    metric: str
    threshold: float
    of_each_part: bool = True


Tests = Mapping[str, tuple[GroupTest, ...]]
"""Those of dimensions and those of emotions."""


def _distribution(mean: float, per_bin: float, per_class: float) -> Tests:
    return {
        "dimensions": (
            GroupTest(
                name="Mean Value",
                metric="matched_mean_prediction",
                threshold=mean,
                of_each_part=False,
            ),
            GroupTest(
                name="Relative Difference Per Bin",
                metric="matched_prediction_share",
                threshold=per_bin,
            ),
        ),
        "emotion": (
            GroupTest(
                name="Relative Difference Per Class",
                metric="matched_prediction_share",
                threshold=per_class,
            ),
        ),
    }


def _rightness(
    concordance_cc: float,
    per_bin: float,
    recall: float,
    precision_per_class: float,
    recall_per_class: float,
) -> Tests:
    return {
        "dimensions": (
            GroupTest(
                name="Concordance Correlation Coeff",
                metric="matched_concordance_cc",
                threshold=concordance_cc,
                of_each_part=False,
            ),
            GroupTest(name="Precision Per Bin", metric="matched_precision", threshold=per_bin),
            GroupTest(name="Recall Per Bin", metric="matched_recall", threshold=per_bin),
        ),
        "emotion": (
            GroupTest(
                name="Unweighted Average Recall",
                metric="matched_unweighted_average_recall",
                threshold=recall,
                of_each_part=False,
            ),
            GroupTest(
                name="Precision Per Class",
                metric="matched_precision",
                threshold=precision_per_class,
            ),
            GroupTest(name="Recall Per Class", metric="matched_recall", threshold=recall_per_class),
        ),
    }


def _shifts(mean: float, per_part: float) -> Tests:
    return {
        "dimensions": (
            GroupTest(
                name="Mean Shift Difference",
                metric="matched_mean_prediction_shift",
                threshold=mean,
                of_each_part=False,
            ),
            GroupTest(
                name="Bin Proportion Shift Difference",
                metric="matched_prediction_share_shift",
                threshold=per_part,
            ),
        ),
        "emotion": (
            GroupTest(
                name="Class Proportion Shift Difference",
                metric="matched_prediction_share_shift",
                threshold=per_part,
            ),
        ),
    }


FAMILIES: Mapping[str, tuple[str, str, Tests]] = {
    "accent": ("fairness accent", "accent", _distribution(0.075, 0.225, 0.225)),
    "language": ("fairness language", "language", _distribution(0.03, 0.1, 0.1)),
    LANGUAGE_AND_SENTIMENT: (
        "fairness linguistic sentiment",
        "language or no column sentiment",
        _shifts(0.025, 0.075),
    ),
    PITCH_GROUP: (
        "fairness pitch",
        "pitch_hz or pitch",
        _rightness(0.1, 0.125, 0.075, 0.1, 0.225),
    ),
    "sex": ("fairness sex", "sex", _rightness(0.075, 0.1, 0.075, 0.075, 0.175)),
}
"""By grouping: the family, the column that it needs, and its tests."""

FIXED_GROUPS: Mapping[str, tuple[str, ...]] = {
    "sex": ("sex=female", "sex=male"),
    PITCH_GROUP: tuple(f"{PITCH_GROUP}={name}" for name in PITCH_GROUPS),
}
"""Groups that are tested whether they are there or not."""


def fairness_tests(target: str, corpus: Corpus) -> Iterator[SuiteTest]:
    """Yield the tests of a target."""
    for grouping, (family, column, tests) in FAMILIES.items():
        groups = {*corpus.groups.get(grouping, ()), *FIXED_GROUPS.get(grouping, ())}
        has_column = grouping in corpus.groupings
        why = "there are no two groups" if has_column else f"the metadata has no column {column}"
        for test in tests["emotion" if target == "emotion" else "dimensions"]:
            parts = corpus.emotions if target == "emotion" else QUARTERS
            metrics = [f"{test.metric}_gap"]
            if test.of_each_part:
                metrics = [f"{test.metric}[{part}]_gap" for part in parts]
            for group in sorted(groups) or [""]:
                for metric in metrics:
                    yield SuiteTest(
                        family=family,
                        name=_name(test.name, grouping, group),
                        target=target,
                        metric=metric,
                        comparison=Comparison.WITHIN,
                        threshold=test.threshold,
                        slice_by=grouping,
                        slice=f"{group}{REST_SUFFIX}" if group else "",
                        point_slice=f"{group}{ALL_SUFFIX}",
                        if_absent=why,
                    )


def _name(test: str, grouping: str, group: str) -> str:
    """The suite's name, which says sex, pitch and sentiment, but neither accent nor language."""
    value = group.rpartition("=")[2]
    if grouping == "sex":
        return f"{test} {value.title()}"
    if grouping == PITCH_GROUP:
        return f"{test} {value.title()} Pitch"
    if grouping == LANGUAGE_AND_SENTIMENT and value in SENTIMENTS:
        return f"{test} {value.title()} Sentiment"
    return test
