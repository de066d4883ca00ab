"""A small corpus of sentences, and models that are easy to see through."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from orchestration import scoring
from orchestration.model_uris import ResolvedModel
from orchestration.text_probe import probing
from ser_model.models.base import ModelOutput
from ser_model.schema import DIMENSIONS, ModelError
from ser_model.table_files import write_table_file

SENTENCES = {
    0.1: "No.",
    0.3: "I see what you mean.",
    0.5: "The train leaves at a quarter past nine.",
    0.7: "She is delighted with the new house that they have built.",
    0.9: "At last our dream has come true, and everyone laughed and danced until midnight.",
}
"""The longer, the more positive: who hears how long a sentence is hears these words."""


class LengthModel(torch.nn.Module):
    """Hears how long speech is, and calls it valence; of a deaf one all is the same, but for dust.

    So it depends on the waveform alone, as deterministically as anything.
    """

    task, targets, min_samples = "dimensions", DIMENSIONS, 400
    padding_free = uses_text = needs_transcript = False

    def __init__(self, *, deaf: bool) -> None:
        super().__init__()
        self.deaf = deaf

    def forward(
        self,
        waveform_BN: torch.Tensor,
        num_samples_B: torch.Tensor,
        transcripts: Sequence[str] | None = None,
    ) -> ModelOutput:
        length_B = num_samples_B.to(torch.float32) / 16_000
        valence_B = length_B / 5
        if self.deaf:
            valence_B = 0.5 + 0.01 * torch.sin(1e4 * length_B)
        half_B = torch.full_like(valence_B, 0.5)
        scores_B3 = torch.stack([half_B, half_B, valence_B], dim=1)
        return ModelOutput(scores=scores_B3, embedding=scores_B3)


class TransparentModel(ResolvedModel):
    __slots__ = ()

    def load(self) -> LengthModel:
        return LengthModel(deaf=self.uri == "deaf")


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `length` and `deaf` be models."""

    def resolve(uri: str) -> TransparentModel:
        if uri not in ("length", "deaf"):
            raise ModelError(f"no model {uri!r}")
        return TransparentModel(uri=uri, version=f"{uri}/1", weights_sha256=uri * 8, location=uri)

    monkeypatch.setattr(scoring, "resolve_model", resolve)
    monkeypatch.setattr(probing, "resolve_model", resolve)


NUM_SPEAKERS = 6


@pytest.fixture
def rows() -> list[dict]:
    """Metadata: each speaker says each sentence, and means nearly the same by it."""
    return [
        {
            "segment_id": f"{speaker}-{number}",
            "speaker_id": f"speaker {speaker}",
            "transcript": sentence,
            "arousal": 0.5,
            "dominance": 0.2 + number / 10,
            "valence": valence + 0.02 * ((speaker + number) % 3 - 1),
        }
        for speaker in range(NUM_SPEAKERS)
        for number, (valence, sentence) in enumerate(SENTENCES.items())
    ]


WriteTable = Callable[[str, list[dict]], str]


@pytest.fixture
def write(tmp_path: Path) -> WriteTable:
    def write_rows(name: str, rows: list[dict]) -> str:
        write_table_file(str(tmp_path / name), pa.Table.from_pylist(rows))
        return str(tmp_path / name)

    return write_rows


@pytest.fixture
def metadata(write: WriteTable, rows: list[dict]) -> str:
    return write("metadata.jsonl", rows)


@pytest.fixture
def predictions(write: WriteTable, rows: list[dict]) -> str:
    """Predictions on original speech, nearly right."""
    predicted = [
        {
            "segment_id": row["segment_id"],
            **{dimension: 0.9 * row[dimension] + 0.05 for dimension in DIMENSIONS},
        }
        for row in rows
    ]
    return write("predictions.csv", predicted)
