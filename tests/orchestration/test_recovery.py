"""Runs with real workers on Ray that die or dawdle end as clean runs do, row by row."""

import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pytest
import ray
import torch

from orchestration import dispatch, quarantine, stragglers, workers
from orchestration.actors import ScoringActor
from orchestration.cluster import start_actors
from orchestration.commits import RunIdentity
from orchestration.committed import committed_files, content_hash
from orchestration.dispatch import Dispatcher
from orchestration.hardware import WorkerRange
from orchestration.ledger import Ledger
from orchestration.local import score_here
from orchestration.shard_plan import SegmentAudio, ShardPlan, ShardTask
from orchestration.shard_report import ShardReport
from ser_model import storage
from ser_model.models.base import ModelOutput
from ser_model.schema import CLEAN, DIMENSIONS

# Workers cannot import this module, so its classes travel to them by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

NUM_SHARDS, SEGMENTS_PER_SHARD = 8, 3
NUM_SEGMENTS = NUM_SHARDS * SEGMENTS_PER_SHARD
TASKS = [ShardTask(number=number, conditions=(CLEAN,)) for number in range(NUM_SHARDS)]
DEADLY, SLOW = 0.9, 0.8


class MoodyModel(torch.nn.Module):
    """Scores the mean of a waveform; one mean kills it, and one takes long, the first time."""

    task, targets, min_samples = "dimensions", DIMENSIONS, 400
    padding_free = uses_text = needs_transcript = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def forward(
        self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor, transcripts: None
    ) -> ModelOutput:
        mean_B1 = (waveform_BN.sum(1) / num_samples_B)[:, None]
        if torch.isclose(mean_B1, torch.tensor(DEADLY)).any():
            os._exit(1)
        if torch.isclose(mean_B1, torch.tensor(SLOW)).any():
            self.dawdle()
        return ModelOutput(scores=mean_B1.expand(-1, 3), embedding=mean_B1)

    def dawdle(self) -> None:
        try:
            (self.folder / "slow").touch(exist_ok=False)
        except FileExistsError:
            return
        while not (self.folder / "ended").exists():
            time.sleep(0.01)


@dataclass(frozen=True)
class MoodySource:
    folder: Path

    def load(self) -> MoodyModel:
        return MoodyModel(self.folder)


@dataclass(frozen=True)
class LevelShard:
    """Segments of constant level."""

    levels: dict[str, float]

    @property
    def segment_ids(self) -> Sequence[str]:
        return list(self.levels)

    def read(self) -> Iterator[SegmentAudio]:
        for segment_id, level in self.levels.items():
            yield segment_id, np.full(800, level, np.float32)

    def only(self, segment_ids: Collection[str]) -> Self:
        return replace(self, levels={i: v for i, v in self.levels.items() if i in segment_ids})


def make_plan(special: float) -> ShardPlan:
    """Shards of three segments; the middle one of the first shard has the special level."""
    levels = np.arange(NUM_SEGMENTS) / 100
    levels[1] = special
    ids = [f"segment {number}" for number in range(NUM_SEGMENTS)]
    return ShardPlan(
        rows=pa.table({"segment_id": ids, "level": levels}),
        first_rows=range(0, NUM_SEGMENTS + 1, SEGMENTS_PER_SHARD),
        make_shard=lambda rows: LevelShard(
            dict(zip(rows["segment_id"].to_pylist(), rows["level"].to_pylist(), strict=True))
        ),
    )


@dataclass
class Trial:
    """A run of a plan in a folder of its own."""

    folder: Path
    plan: ShardPlan

    def __post_init__(self) -> None:
        self.folder.mkdir()
        identity = RunIdentity(
            model_uri="models:/moody/1",
            model_version="1",
            weights_sha256="abc",
            dtype="float32",
            embeddings=False,
            num_threads=1,
            source_sha256="def",
            num_segments=self.plan.num_segments,
            num_shards=NUM_SHARDS,
        )
        self.ledger = Ledger(str(self.folder / "run"), identity)
        self.ledger.start({})
        self.arguments = {
            "model": MoodySource(self.folder),
            "run_uri": self.ledger.run_uri,
            "identity": identity,
            "device": "cpu",
        }

    def score_on_ray(self) -> list[ShardReport]:
        with start_actors(self.arguments, WorkerRange(minimum=2, maximum=2), "cpu") as (actors, _):
            return list(Dispatcher(actors, self.plan).run(TASKS))

    def score_here(self) -> list[ShardReport]:
        num_threads = torch.get_num_threads()
        try:
            return list(score_here(ScoringActor(**self.arguments), self.plan, TASKS))
        finally:
            torch.set_num_threads(num_threads)

    def complete(self) -> str:
        self.ledger.complete([SEGMENTS_PER_SHARD] * NUM_SHARDS, [CLEAN])
        return content_hash(self.ledger.run_uri)


@pytest.fixture(autouse=True)
def haste(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(workers, "LOAD_AGAIN_AFTER_S", 0.1)
    monkeypatch.setattr(stragglers, "MIN_HEDGE_S", 0.5)


def test_a_straggler_changes_no_row_and_counts_once(tmp_path: Path) -> None:
    plan = make_plan(SLOW)
    hedged, clean = Trial(tmp_path / "hedged", plan), Trial(tmp_path / "clean", plan)
    reports = hedged.score_on_ray()
    assert (hedged.folder / "slow").exists()  # the first attempt waited in the model, to the end
    (hedged.folder / "ended").touch()
    (clean.folder / "slow").touch()
    clean.score_here()
    assert sorted(report.shard for report in reports) == list(range(NUM_SHARDS))
    assert hedged.complete() == clean.complete()


def test_a_segment_that_kills_workers_is_rejected_and_all_others_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker with torch takes seconds to start again; so the shards in flight at the first death,
    # guilty or not, go into quarantine at once.
    monkeypatch.setattr(dispatch, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(quarantine, "MAX_TRIES", 1)
    trial = Trial(tmp_path / "run", make_plan(DEADLY))
    trial.score_on_ray()
    assert trial.complete()
    committed = committed_files(trial.ledger.run_uri)
    (rejections,) = (storage.read_table(uri).to_pylist() for uri in committed.rejections)
    told = [(row["segment_id"], row["stage"], row["reason"], row["detail"]) for row in rejections]
    assert told == [("segment 1", "score", "killed_worker", "its worker died")]
    assert committed.run["counts"]["num_predictions"] == NUM_SEGMENTS - 1
