"""A corpus of a few segments of noise, as a manifest of MSP-Podcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import read_published
from orchestration.reproduce.steps.base import Context
from ser_model.manifest import write_manifest

TEST = "msp-podcast/test-1"
MakeCorpora = Callable[..., Corpora]


@pytest.fixture
def make_corpora(tmp_path: Path, write_recording: Callable[..., str]) -> MakeCorpora:
    """Return what makes corpora whose segments have these transcripts."""

    def make(transcripts: Sequence[str | None], *names: str) -> Corpora:
        given = {}
        for name in names or ("msp-podcast",):
            folder = tmp_path / name
            rows = []
            for number, transcript in enumerate(transcripts):
                write_recording(folder / f"{number}.wav", duration_s=0.5, seed=number)
                rows.append(
                    {
                        "segment_id": f"s{number}",
                        "recording": f"{number}.wav",
                        "speaker_id": f"speaker {number % 2}",
                        "split_set": "test-1",
                        "valence": number / 10,
                        "transcript": transcript,
                    }
                )
            if name == "msp-podcast":  # where plans look for a training part too
                rows.append({**rows[0], "segment_id": "of train", "split_set": "train"})
            given[name] = str(folder / "manifest.parquet")
            write_manifest(given[name], pa.Table.from_pylist(rows))
        return Corpora(given)

    return make


@pytest.fixture
def planner() -> Callable[[str, Corpora], Planner]:
    """Return what plans a table."""
    return lambda table, corpora: Planner(table=read_published(table), corpora=corpora)


@pytest.fixture
def context_of(tmp_path: Path) -> Callable[[Corpora], Context]:
    """Return where steps run."""
    return lambda corpora: Context(work=str(tmp_path / "work"), corpora=corpora, devices="cpu")
