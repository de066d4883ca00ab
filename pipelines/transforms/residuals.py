"""Rows of residuals of a slice: whether a model says too little of it, and to which end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipelines.transforms.metric_values import NO_VARIANCE
from ser_model.metrics.bootstrap import has_enough_replicates
from ser_model.metrics.intervals import Estimate, Scale, speaker_error, speaker_interval
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.residuals import residual_line_of, residual_mean_of, residual_t_test

BY_SPEAKER = "residual_mean"
BY_SEGMENT = "residual_mean_by_segment"

RESIDUAL_TESTS = (BY_SPEAKER, BY_SEGMENT)
"""Metrics whose p-values are corrected for, each over all slices and targets of a model under a
condition."""


def residual_rows(moments: CoMoments, effective_speakers: float) -> Iterator[dict[str, Any]]:
    """Yield the mean residual with both tests, and the line of the residual on the truth.

    Args:
        moments: [B1] of a slice of at least two speakers.
        effective_speakers: see `metrics.intervals`.
    """
    mean = residual_mean_of(moments)
    row = {"metric": BY_SPEAKER, **_of_speakers(mean, effective_speakers)}
    if row["standard_error"]:
        row["p_value"] = Estimate(
            value=row["value"],
            standard_error=row["standard_error"],
            degrees_of_freedom=row["degrees_of_freedom"],
        ).p_value
    yield row
    test = residual_t_test(moments[0])
    if test is not None:
        low, high = test.interval()
        yield {
            "metric": BY_SEGMENT,
            "value": test.value,
            "ci_low": low,
            "ci_high": high,
            "p_value": test.p_value,
            "standard_error": test.standard_error,
            "degrees_of_freedom": test.degrees_of_freedom,
        }
    line = residual_line_of(moments)
    for name, values in (("residual_slope", line.slope), ("residual_intercept", line.intercept)):
        if np.isfinite(values[0]):
            yield {"metric": name, **_of_speakers(values, effective_speakers)}
        else:
            yield {"metric": name, "reason": NO_VARIANCE}


def _of_speakers(values_B1: Floats, effective_speakers: float) -> dict[str, Any]:
    found: dict[str, Any] = {"value": float(values_B1[0]), "standard_error": None}
    if not has_enough_replicates(values_B1[1:]):
        return {**found, "reason": "too few replicates have a value"}
    low, high = speaker_interval(values_B1, effective_speakers, Scale.LINEAR)
    return {
        **found,
        "ci_low": low,
        "ci_high": high,
        "standard_error": speaker_error(values_B1, effective_speakers),
        "degrees_of_freedom": max(effective_speakers - 1.0, 1.0),
    }
