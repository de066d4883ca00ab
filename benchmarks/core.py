"""Serval's core on segments, as benchmarks time it: none may be lost."""

from __future__ import annotations

from collections.abc import Sequence

from scoring_rivals import Scores, Waveforms

from ser_model.predict import Predictor
from ser_model.schema import CLEAN, Prediction


def serval_core(
    predictor: Predictor, waveforms: Waveforms, transcripts: Sequence[str] | None = None
) -> Scores:
    """Score waveforms, with their transcripts where the model reads; return the dimensions."""
    items = (
        (f"{i:06d}", CLEAN, waveform, None if transcripts is None else transcripts[i])
        for i, waveform in enumerate(waveforms)
    )
    outcomes = sorted(predictor.predict(items), key=lambda outcome: outcome.segment_id)
    assert len(outcomes) == len(waveforms)
    scores = [o.dimensions for o in outcomes if isinstance(o, Prediction)]
    assert len(scores) == len(waveforms)
    return [score for score in scores if score is not None]
