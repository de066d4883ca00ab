"""Linguistic sentiment: does what the words say move predictions alike in every language?

The shift of a language and sentiment is the prediction on its segments minus that on all segments
of the language, matched on the truth. A language is held against the mean of the other languages'
shifts, each counting alike; rows beside it against the mean of all, as ser-tests does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipelines.audit_config import Minimums
from pipelines.transforms.group_statistics import REST, Row, against_all_row, gap_row, merge_groups
from pipelines.transforms.group_sums import Group
from pipelines.transforms.matched_gaps import distribution
from pipelines.transforms.metric_values import MetricValues
from pipelines.transforms.suite_columns import SENTIMENTS
from ser_model.metrics.matching import match

_SENTIMENT = ",sentiment="


def shift_rows(groups: Sequence[Group], minimums: Minimums) -> Iterator[Row]:
    """Yield, for each sentiment, how each language's shift differs from those of the others.

    Args:
        groups: of languages and sentiments.
        minimums: below them a language and sentiment is suppressed.
    """
    by_language: dict[str, list[Group]] = {}
    for group in groups:
        by_language.setdefault(group.name.rpartition(_SENTIMENT)[0], []).append(group)
    wholes = {name: merge_groups(name, parts) for name, parts in by_language.items()}
    for sentiment in SENTIMENTS:
        said = {
            group.name.rpartition(_SENTIMENT)[0]: group
            for group in groups
            if group.name.endswith(_SENTIMENT + sentiment)
        }
        shifts = {name: _shifts(group, wholes[name], said) for name, group in said.items()}
        for name in said if len(said) > 1 else ():
            yield from _rows_of_language(name, said, shifts, minimums)


def _shifts(part: Group, whole: Group, said: dict[str, Group]) -> list[MetricValues]:
    """How a sentiment moves predictions within a language, metric by metric."""
    everyone = merge_groups("", list(said.values())).sums.estimate()
    left, right = match(part.sums, whole.sums)
    return [
        replace(
            moved,
            name=_shift_name(moved.name),
            values=moved.values - still.values,
        )
        for moved, still in zip(
            distribution(left, everyone), distribution(right, everyone), strict=True
        )
    ]


def _shift_name(metric: str) -> str:
    kind, bracket, of = metric.partition("[")
    return f"{kind}_shift{bracket}{of}"


def _rows_of_language(
    name: str,
    said: dict[str, Group],
    shifts: dict[str, list[MetricValues]],
    minimums: Minimums,
) -> Iterator[Row]:
    group = said[name]
    rest = merge_groups(REST, [other for key, other in said.items() if key != name])
    for index, metric in enumerate(shifts[name]):
        others = np.mean([of[index].values for key, of in shifts.items() if key != name], axis=0)
        row = gap_row(group.name, metric, others, (group, rest), minimums)
        yield row
        of_all = np.mean([of[index].values[0] for of in shifts.values()])
        yield against_all_row(row, group.name, float(metric.values[0] - of_all))
