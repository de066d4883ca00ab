"""The worker, as an ordinary object: no cluster is needed to test what it does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from orchestration.actors import ScoringActor
from orchestration.commits import RunIdentity
from orchestration.ledger import Ledger, committed_files
from orchestration.shard_plan import SegmentAudio
from ser_model import storage
from ser_model.models.base import ModelOutput
from ser_model.schema import CLEAN, DIMENSIONS, Reason, RunError, SegmentError, Stage


class MeanModel(torch.nn.Module):
    """Scores the mean of a waveform."""

    task, targets, min_samples = "dimensions", DIMENSIONS, 400
    padding_free = False

    def forward(self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor) -> ModelOutput:
        mean_B1 = (waveform_BN.sum(1) / num_samples_B)[:, None]
        return ModelOutput(scores=mean_B1.expand(-1, 3), embedding=mean_B1)


class MeanModelSource:
    def load(self) -> MeanModel:
        return MeanModel()


@dataclass
class ListShard:
    """A shard that is in memory; `planned` are the segments that it should hold."""

    audio: list[SegmentAudio]
    planned: Sequence[str]

    @property
    def segment_ids(self) -> Sequence[str]:
        return self.planned

    def read(self) -> Iterator[SegmentAudio]:
        yield from self.audio


AUDIO: list[SegmentAudio] = [
    ("half", np.full(16_000, 0.5, np.float32)),
    ("gone", SegmentError(Stage.READ, Reason.RECORDING_NOT_FOUND, "gone.wav does not exist")),
    ("quarter", np.full(8_000, 0.25, np.float32)),
    ("broken", np.full(8_000, np.nan, np.float32)),
]
IDS = [segment_id for segment_id, _ in AUDIO]


@pytest.fixture
def identity() -> RunIdentity:
    return RunIdentity(
        model_uri="models:/mean/1",
        model_version="1",
        weights_sha256="abc",
        dtype="float32",
        embeddings=False,
        num_threads=1,
        source_sha256="def",
        num_segments=len(AUDIO),
        num_shards=1,
    )


@pytest.fixture
def ledger(memory: str, identity: RunIdentity) -> Ledger:
    ledger = Ledger(f"{memory}/run", identity)
    ledger.start({})
    return ledger


@pytest.fixture
def actor(ledger: Ledger, identity: RunIdentity) -> Iterator[ScoringActor]:
    num_threads = torch.get_num_threads()
    yield ScoringActor(
        model=MeanModelSource(), run_uri=ledger.run_uri, identity=identity, device="cpu"
    )
    torch.set_num_threads(num_threads)


def test_each_segment_of_a_shard_is_predicted_or_rejected(
    actor: ScoringActor, ledger: Ledger
) -> None:
    report = actor.score_shard(0, ListShard(AUDIO, IDS), CLEAN, "x")
    assert (report.commit.num_predictions, report.commit.num_rejections) == (2, 2)
    assert report.commit.audio_s == 1.5
    ledger.complete([4], [CLEAN])
    committed = committed_files(ledger.run_uri)
    (predictions,) = (storage.read_table(uri).to_pylist() for uri in committed.predictions)
    assert {row["segment_id"]: row["arousal"] for row in predictions} == {
        "half": 0.5,
        "quarter": 0.25,
    }
    (rejections,) = (storage.read_table(uri).to_pylist() for uri in committed.rejections)
    assert [(row["segment_id"], row["stage"], row["reason"]) for row in rejections] == [
        ("broken", "score", "not_finite"),
        ("gone", "read", "recording_not_found"),
    ]


def test_a_report_counts_its_own_shard_alone(actor: ScoringActor) -> None:
    first = actor.score_shard(0, ListShard(AUDIO, IDS), CLEAN, "x")
    second = actor.score_shard(1, ListShard(AUDIO, IDS), CLEAN, "x")
    assert first.workload == second.workload
    assert first.workload.num_samples == 24_000


def test_a_late_attempt_reports_the_commit_that_counts(actor: ScoringActor) -> None:
    first = actor.score_shard(0, ListShard(AUDIO, IDS), CLEAN, "first")
    louder = [(id_, a if isinstance(a, SegmentError) else a * 2) for id_, a in AUDIO]
    late = actor.score_shard(0, ListShard(louder, IDS), CLEAN, "late")
    assert late.commit == first.commit


@pytest.mark.parametrize("planned", [IDS[1:], [*IDS, "more"], [*IDS[1:], "other"]])
def test_a_shard_that_changed_after_planning_is_not_committed(
    actor: ScoringActor, ledger: Ledger, planned: list[str]
) -> None:
    with pytest.raises(RunError, match="changed"):
        actor.score_shard(0, ListShard(AUDIO, planned), CLEAN, "x")
    assert ledger.committed(CLEAN) == set()


def test_a_shard_that_yields_a_segment_twice_is_not_committed(
    actor: ScoringActor, ledger: Ledger
) -> None:
    with pytest.raises(RunError, match="twice"):
        actor.score_shard(0, ListShard([*AUDIO, AUDIO[0]], IDS), CLEAN, "x")
    assert ledger.committed(CLEAN) == set()


def test_the_threads_are_those_of_the_run(actor: ScoringActor) -> None:
    torch.set_num_threads(2)
    actor.load()
    assert torch.get_num_threads() == 1
