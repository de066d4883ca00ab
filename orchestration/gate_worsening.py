"""By how much a candidate's statistic or gap is worse than the champion's, draw by draw.

Shape suffix: B1 the estimate and then the replicates.
"""

from __future__ import annotations

import math
from dataclasses import replace

from orchestration.gate_audits import Kept
from orchestration.gate_config import BETTER
from ser_model.metrics.intervals import Estimate, gap_estimate, paired_estimate
from ser_model.metrics.moments import Floats
from ser_model.metrics.noninferiority import (
    LEVEL,
    Worsening,
    hold_against,
    is_unchanged,
    without_spread,
)

MIN_SPEAKERS = 2
FEW_SPEAKERS = f"fewer than {MIN_SPEAKERS} speakers"
FEW_REPLICATES = "too few replicates have a value"

GapSides = tuple[Kept, Kept]
"""Both slices of a gap, or a slice and its rest."""


def statistic_worsening(
    metric: str, mine: Kept, theirs: Kept, margin: float
) -> tuple[float, Worsening | str]:
    """Return by how much a statistic is worse; and its bounds, or why there are none.

    Args:
        metric: one of BETTER.
        mine: the candidate's.
        theirs: the champion's.
        margin: that it is held against.
    """
    sign = 1.0 if BETTER[metric] == "lower" else -1.0
    worsening_B1 = sign * (mine.values - theirs.values)
    speakers = min(mine.effective_speakers, theirs.effective_speakers)
    estimate = paired_estimate(worsening_B1, speakers)
    return float(worsening_B1[0]), _held(worsening_B1, estimate, mine.num_speakers, margin)


def gap_worsening(
    mine: GapSides, theirs: GapSides, num_speakers: int, margin: float
) -> tuple[float, Worsening | str]:
    """Return by how much a gap is wider; and its bounds, or why there are none.

    The size of a gap bends at 0. So each gap is taken in the direction that it has in its own
    audit, in all replicates: there the worsening is straight, and its spread that of a change.
    A gap that turns to the other direction grows by no more than it changes, so there the upper
    bound of the size of its change is one too, and the lower of both holds.

    Args:
        mine: the candidate's.
        theirs: the champion's.
        num_speakers: of both slices together.
        margin: that it is held against.
    """
    mine_sign, their_sign = _direction(mine), _direction(theirs)
    worsening_B1, estimate = _difference(mine, theirs, (mine_sign, their_sign), num_speakers)
    fewest = min(one.num_speakers for one in mine)
    held = _held(worsening_B1, estimate, fewest, margin)
    if mine_sign != their_sign and isinstance(held, Worsening):
        _, change = _difference(mine, theirs, (1.0, 1.0), num_speakers)
        if change is not None:
            high = max(abs(end) for end in change.interval(1.0 - 2.0 * LEVEL))
            held = replace(held, high=min(held.high, high))
    return float(worsening_B1[0]), held


def _direction(sides: GapSides) -> float:
    first, second = sides
    return math.copysign(1.0, first.values[0] - second.values[0])


def _difference(
    mine: GapSides, theirs: GapSides, signs: tuple[float, float], num_speakers: int
) -> tuple[Floats, Estimate | None]:
    """Return the candidate's gap minus the champion's [B1], each in a direction, and its error."""
    firsts_B1, seconds_B1 = (
        signs[0] * one.values - signs[1] * other.values
        for one, other in zip(mine, theirs, strict=True)
    )
    first, second = (
        min(one.effective_speakers, other.effective_speakers)
        for one, other in zip(mine, theirs, strict=True)
    )
    estimate = gap_estimate(firsts_B1, seconds_B1, (first, second), num_speakers)
    return firsts_B1 - seconds_B1, estimate


def _held(
    worsening_B1: Floats, estimate: Estimate | None, fewest_speakers: int, margin: float
) -> Worsening | str:
    if is_unchanged(worsening_B1):
        return Worsening(value=0.0, low=0.0, high=0.0, p_value=1.0)
    if fewest_speakers < MIN_SPEAKERS:
        return FEW_SPEAKERS
    known = without_spread(worsening_B1, margin)
    if known is not None:
        return known
    return FEW_REPLICATES if estimate is None else hold_against(estimate, margin)
