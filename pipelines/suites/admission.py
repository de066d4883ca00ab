"""Is a model fit to be tested at all?

Thresholds of fairness and robustness are easy to keep for a model that does not listen: random
predictions treat all groups alike, and constant ones never change. So before any test a model must
be shown to follow the truth: the 95 % interval over speakers of its CCC, or UAR, must lie above a
tenth of the way from chance to perfect. Chance is a CCC of 0, or a UAR of one in the number of
emotions in the truth.

The floor is not chance itself: predictions that follow the truth but hardly move (their standard
deviation a twentieth of the truth's) have a CCC of .1 at most, are beyond chance in a large corpus,
and pass for fair and robust all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.suites.suite_test import Row

WAY_FROM_CHANCE = 0.1
"""How far beyond chance the interval must lie, as a share of the way to perfect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether the tests of one target mean anything.

    Attributes:
        floor: what the interval must lie above; None where that cannot be told.
        reason: why the model is not admissible; None where it is.
    """

    floor: float | None
    reason: str | None

    @property
    def is_admissible(self) -> bool:
        """Whether the tests are judged."""
        return self.reason is None


def admission_of(
    target: str, overall: Mapping[tuple[str, str], Row], num_emotions: int
) -> Admission:
    """Judge one target of a model.

    Args:
        target: a dimension or "emotion".
        overall: by target and metric the statistics of all clean segments.
        num_emotions: in the truth.
    """
    metric, label, chance = "concordance_cc", "CCC", 0.0
    if target == "emotion":
        metric, label, chance = "unweighted_average_recall", "UAR", 1.0 / max(num_emotions, 1)
    floor = chance + WAY_FROM_CHANCE * (1.0 - chance)
    row = overall.get((target, metric))
    if row is None:
        why = f"there is no prediction of {target} on clean audio with a truth"
        return Admission(floor=None, reason=why)
    return Admission(floor=floor, reason=_why_not(target, label, row, floor, overall))


def _why_not(
    target: str, label: str, row: Row, floor: float, overall: Mapping[tuple[str, str], Row]
) -> str | None:
    pearson_cc = overall.get((target, "pearson_cc"))
    if row["value"] is None:
        return f"{label} of {target} has no value: {row['reason']}"
    if pearson_cc is not None and pearson_cc["value"] is None:
        return f"predictions of {target} do not vary"
    if row["ci_low"] is None:
        return f"{label} of {target} has no interval: {row['reason']}"
    if not row["ci_low"] > floor:
        return (
            f"{label} of {target} is not shown to be above {floor:.3f}: its interval begins at "
            f"{row['ci_low']:.3f}"
        )
    return None
