"""Transcripts of segments: kept where there are some, made where there are none."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ser_model.batching import Item
from ser_model.schema import CLEAN, MANIFEST, Reason, Rejection, Transcript
from ser_model.transcribe import TranscriptRunner


class FakeTranscriber(torch.nn.Module):
    """Says how long a waveform is; `fail` may raise for a batch of lengths."""

    min_samples = 400
    padding_free = True
    weights_sha256 = "abc"

    def __init__(self, fail: Callable[[list[int]], None] = lambda lengths: None) -> None:
        super().__init__()
        self.fail = fail
        self.batches: list[list[int]] = []

    def forward(self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor) -> list[str]:
        self.batches.append(num_samples_B.tolist())
        self.fail(self.batches[-1])
        assert torch.is_inference_mode_enabled()
        return [f"{n} samples" for n in self.batches[-1]]


def item(name: str, num_samples: int, transcript: str | None = None) -> Item:
    return name, CLEAN, np.full(num_samples, 0.1, dtype=np.float32), transcript


def run(
    model: FakeTranscriber, items: list[Item], **options: object
) -> dict[str, Transcript | Rejection]:
    runner = TranscriptRunner(model, name="hf:a/b@1", **options)
    outcomes = list(runner.predict(items))
    assert len(outcomes) == len(items)
    return {outcome.segment_id: outcome for outcome in outcomes}


def test_only_segments_without_a_transcript_are_transcribed() -> None:
    model = FakeTranscriber()
    found = run(
        model,
        [item("has", 8_000, "as it was"), item("blank", 100, ""), item("has none", 16_000)],
    )
    assert model.batches == [[16_000]]
    assert found["has"] == Transcript(
        segment_id="has",
        condition=CLEAN,
        duration_s=0.5,
        transcript="as it was",
        transcriber=MANIFEST,
    )
    assert (found["blank"].transcript, found["blank"].transcriber) == ("", MANIFEST)
    assert found["has none"] == Transcript(
        segment_id="has none",
        condition=CLEAN,
        duration_s=1.0,
        transcript="16000 samples",
        transcriber="hf:a/b@1",
    )


def test_what_cannot_be_heard_is_rejected() -> None:
    nan = np.full(16_000, np.nan, dtype=np.float32)
    found = run(FakeTranscriber(), [item("short", 399), ("nan", CLEAN, nan, None)])
    assert found["short"].reason == Reason.TOO_SHORT
    assert found["nan"].reason == Reason.NOT_FINITE


def test_memory_that_does_not_suffice_halves_batches_as_in_scoring() -> None:
    def fail(lengths: list[int]) -> None:
        if sum(lengths) > 40_000:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model = FakeTranscriber(fail)
    runner = TranscriptRunner(model, name="x")
    items = [item(f"s{n}", 16_000) for n in range(16)] + [item("large", 48_000)]
    outcomes = {o.segment_id: o for o in runner.predict(items)}
    assert outcomes.pop("large").reason == Reason.OUT_OF_MEMORY
    assert {o.transcript for o in outcomes.values()} == {"16000 samples"}
    assert runner.batch_seconds < 120, "the smaller budget is kept"


def test_a_model_that_fails_of_all_is_broken() -> None:
    def fail(lengths: list[int]) -> None:
        raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        run(FakeTranscriber(fail), [item(f"s{n}", 16_000) for n in range(8)])
