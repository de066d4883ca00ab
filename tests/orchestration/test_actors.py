"""The worker, as an ordinary object: no cluster is needed to test what it does."""

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from orchestration.actors import ScoringActor
from orchestration.commits import RunIdentity
from orchestration.committed import committed_files
from orchestration.ledger import Ledger
from orchestration.read_ahead import StoppedError
from orchestration.shard_plan import Exclusion, SegmentAudio
from ser_model import storage
from ser_model.models.base import ModelOutput
from ser_model.schema import CLEAN, DIMENSIONS, Reason, RunError, SegmentError, Stage


class MeanModel(torch.nn.Module):
    """Scores the mean of a waveform."""

    task, targets, min_samples = "dimensions", DIMENSIONS, 400
    padding_free = uses_text = needs_transcript = False

    def __init__(self) -> None:
        super().__init__()
        self.num_threads: set[int] = set()
        self.threads: set[str] = set()

    def forward(
        self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor, transcripts: None
    ) -> ModelOutput:
        self.num_threads.add(torch.get_num_threads())
        self.threads.add(threading.current_thread().name)
        mean_B1 = (waveform_BN.sum(1) / num_samples_B)[:, None]
        return ModelOutput(scores=mean_B1.expand(-1, 3), embedding=mean_B1)


class MeanModelSource:
    def __init__(self) -> None:
        self.model = MeanModel()

    def load(self) -> MeanModel:
        return self.model


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

    def only(self, segment_ids: Collection[str]) -> "ListShard":
        audio = [(id_, a) for id_, a in self.audio if id_ in segment_ids]
        return replace(self, audio=audio, planned=[id_ for id_, _ in audio])


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
def model() -> MeanModelSource:
    return MeanModelSource()


@pytest.fixture
def actor(ledger: Ledger, identity: RunIdentity, model: MeanModelSource) -> Iterator[ScoringActor]:
    actor = ScoringActor(model=model, run_uri=ledger.run_uri, identity=identity, device="cpu")
    yield actor
    actor.stop()


def test_each_segment_of_a_shard_is_predicted_or_rejected(
    actor: ScoringActor, ledger: Ledger
) -> None:
    report = actor.score_shard(0, ListShard(AUDIO, IDS), (CLEAN,), "x")
    assert (report.commits[0].num_predictions, report.commits[0].num_rejections) == (2, 2)
    assert report.commits[0].audio_s == 1.5
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
    first = actor.score_shard(0, ListShard(AUDIO, IDS), (CLEAN,), "x")
    second = actor.score_shard(1, ListShard(AUDIO, IDS), (CLEAN,), "x")
    assert first.workload == second.workload
    assert first.workload.num_samples == 24_000


def test_a_late_attempt_reports_the_commit_that_counts(actor: ScoringActor) -> None:
    first = actor.score_shard(0, ListShard(AUDIO, IDS), (CLEAN,), "first")
    louder = [(id_, a if isinstance(a, SegmentError) else a * 2) for id_, a in AUDIO]
    late = actor.score_shard(0, ListShard(louder, IDS), (CLEAN,), "late")
    assert late.commits == first.commits


@pytest.mark.parametrize("planned", [IDS[1:], [*IDS, "more"], [*IDS[1:], "other"]])
def test_a_shard_that_changed_after_planning_is_not_committed(
    actor: ScoringActor, ledger: Ledger, planned: list[str]
) -> None:
    with pytest.raises(RunError, match="changed"):
        actor.score_shard(0, ListShard(AUDIO, planned), (CLEAN,), "x")
    assert ledger.committed(CLEAN) == set()


def test_a_shard_that_yields_a_segment_twice_is_not_committed(
    actor: ScoringActor, ledger: Ledger
) -> None:
    with pytest.raises(RunError, match="twice"):
        actor.score_shard(0, ListShard([*AUDIO, AUDIO[0]], IDS), (CLEAN,), "x")
    assert ledger.committed(CLEAN) == set()


def test_the_threads_are_those_of_the_run(actor: ScoringActor, model: MeanModelSource) -> None:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        actor.score_shard(0, ListShard(AUDIO, IDS), (CLEAN,), "x")
    finally:
        torch.set_num_threads(num_threads)
    assert model.model.num_threads == {1}


def test_calls_may_overlap_and_one_thread_alone_touches_the_model(
    actor: ScoringActor, model: MeanModelSource
) -> None:
    with ThreadPoolExecutor(3) as calls:
        reports = list(
            calls.map(
                lambda number: actor.score_shard(
                    number, ListShard(AUDIO, IDS), (CLEAN,), f"attempt-{number}"
                ),
                range(6),
            )
        )
    assert {report.workload.num_samples for report in reports} == {24_000}
    assert {report.commits[0].content_sha256 for report in reports} == {
        reports[0].commits[0].content_sha256
    }
    assert len(model.model.threads) == 1


def test_a_shard_is_read_while_another_is_scored(
    actor: ScoringActor, model: MeanModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_is_read = threading.Event()
    forward = MeanModel.forward

    def wait_for_the_second(model: MeanModel, *inputs: torch.Tensor) -> ModelOutput:
        assert second_is_read.wait(60)
        return forward(model, *inputs)

    class LateShard(ListShard):
        def read(self) -> Iterator[SegmentAudio]:
            yield from self.audio
            second_is_read.set()

    monkeypatch.setattr(MeanModel, "forward", wait_for_the_second)
    with ThreadPoolExecutor(2) as calls:
        first = calls.submit(actor.score_shard, 0, ListShard(AUDIO, IDS), (CLEAN,), "first")
        second = calls.submit(actor.score_shard, 1, LateShard(AUDIO, IDS), (CLEAN,), "second")
        assert first.result().num_segments == second.result().num_segments == 4


def test_an_excluded_segment_is_rejected_unseen(actor: ScoringActor, ledger: Ledger) -> None:
    exclusion = Exclusion(reason=Reason.KILLED_WORKER, detail="its worker died twice")
    report = actor.score_shard(0, ListShard(AUDIO, IDS), (CLEAN,), "x", {"half": exclusion})
    assert report.workload.num_samples == 8_000
    assert report.commits[0].num_rejections_by_reason["killed_worker"] == 1
    ledger.complete([4], [CLEAN])


def test_a_segment_that_is_tried_leaves_nothing(
    actor: ScoringActor, ledger: Ledger, model: MeanModelSource
) -> None:
    actor.try_segment(ListShard(AUDIO, IDS), "half", (CLEAN,))
    assert model.model.threads
    assert storage.list_files(ledger.run_uri) == ["run.json"]


class BrokenShard(ListShard):
    def read(self) -> Iterator[SegmentAudio]:
        yield self.audio[0]
        raise OSError("the store is gone")


def test_what_reading_raises_ends_the_call(actor: ScoringActor, ledger: Ledger) -> None:
    with pytest.raises(OSError, match="the store is gone"):
        actor.score_shard(0, BrokenShard(AUDIO, IDS), (CLEAN,), "x")
    assert ledger.committed(CLEAN) == set()
    assert actor.score_shard(0, ListShard(AUDIO, IDS), (CLEAN,), "y").commits[0].num_segments == 4


def test_what_the_model_raises_ends_the_call_also_while_the_queue_is_full(
    actor: ScoringActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_at_once(model: object, *inputs: torch.Tensor) -> ModelOutput:
        raise KeyError("broken model")

    monkeypatch.setattr(MeanModel, "forward", raise_at_once)
    ten_s = np.zeros(160_000, np.float32)
    many: list[SegmentAudio] = [(f"{number:04d}", ten_s) for number in range(500)]
    with pytest.raises(KeyError, match="broken model"):
        actor.score_shard(0, ListShard(many, [i for i, _ in many]), (CLEAN,), "x")


def test_a_stopped_worker_lets_its_shard_go(actor: ScoringActor, ledger: Ledger) -> None:
    is_read, stopped = threading.Event(), threading.Event()

    class SlowShard(ListShard):
        def read(self) -> Iterator[SegmentAudio]:
            yield self.audio[0]
            is_read.set()
            assert stopped.wait(60)

    with ThreadPoolExecutor(1) as calls:
        call = calls.submit(actor.score_shard, 0, SlowShard(AUDIO, IDS), (CLEAN,), "x")
        assert is_read.wait(60)
        actor.stop()
        stopped.set()
        with pytest.raises(StoppedError):
            call.result()
    assert ledger.committed(CLEAN) == set()
