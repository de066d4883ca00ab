"""The predictor: one outcome a segment, whatever its batch-mates and however little memory."""

import itertools
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from ser_model.batch_runner import Workload
from ser_model.batching import Item
from ser_model.models.base import EmotionModel, ModelConfig, ModelOutput, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.predict import Predictor
from ser_model.schema import (
    CLEAN,
    DIMENSIONS,
    Prediction,
    Reason,
    Rejection,
    Stage,
    UnfinishedError,
)

LENGTHS = (14_500, 15_000, 15_761, 16_000, 16_001, 23_456)
"""All but the last are like enough to share a batch, with padding."""


def tiny_model(task: str = "dimensions") -> EmotionModel:
    config = ModelConfig(
        task=task,
        targets=DIMENSIONS if task == "dimensions" else ("anger", "joy", "neutral"),
        backbone=Cnn14Config(channels=(4, 8), num_pools=2),
        pooling="mean",
        head=HeadConfig(num_hidden=8),
    )
    return build_model(config, seed=0)


def noise(num_samples: int, seed: int) -> np.ndarray:
    samples = np.random.default_rng(seed).normal(scale=0.1, size=num_samples)
    return samples.astype(np.float32)


def noises(lengths: Sequence[int]) -> list[Item]:
    return [(f"s{seed}", CLEAN, noise(length, seed), None) for seed, length in enumerate(lengths)]


def podcast_lengths(num_segments: int, seed: int) -> list[int]:
    """Log-normal around 5 s, 1 to 30 s, in samples."""
    seconds = np.random.default_rng(seed).lognormal(np.log(5.0), 0.65, num_segments).clip(1, 30)
    return [int(second * 16_000) for second in seconds]


class FakeModel(torch.nn.Module):
    """Scores the mean of a waveform; `fail` may raise for a batch of lengths."""

    task = "dimensions"
    targets = DIMENSIONS
    min_samples = 400
    uses_text = needs_transcript = False

    def __init__(
        self,
        fail: Callable[[list[int]], None] = lambda lengths: None,
        *,
        padding_free: bool = False,
    ) -> None:
        super().__init__()
        self.fail = fail
        self.padding_free = padding_free
        self.batches: list[list[int]] = []

    def forward(
        self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor, transcripts: None = None
    ) -> ModelOutput:
        self.batches.append(num_samples_B.tolist())
        self.fail(self.batches[-1])
        mean_B = waveform_BN.sum(1) / num_samples_B
        return ModelOutput(scores=mean_B[:, None].expand(-1, 3), embedding=mean_B[:, None])


def by_id(outcomes: Sequence[Prediction | Rejection]) -> dict[str, Prediction | Rejection]:
    found = {outcome.segment_id: outcome for outcome in outcomes}
    assert len(found) == len(outcomes), "a segment has two outcomes"
    return found


def test_a_score_does_not_depend_on_batch_mates_or_order() -> None:
    items = noises(LENGTHS)
    alone = {
        item[0]: next(iter(Predictor(tiny_model()).predict([item]))).dimensions for item in items
    }
    for order in itertools.islice(itertools.permutations(items), 0, 720, 200):
        for batch_seconds in (2.0, 120.0):
            together = Predictor(tiny_model(), batch_seconds=batch_seconds).predict(order)
            for segment_id, outcome in by_id(list(together)).items():
                assert outcome.dimensions == pytest.approx(alone[segment_id], abs=1e-5)


def test_scores_of_different_segments_differ() -> None:
    outcomes = list(Predictor(tiny_model()).predict(noises(LENGTHS)))
    assert len({outcome.dimensions for outcome in outcomes}) == len(LENGTHS)


def test_the_same_segments_in_another_order_give_the_very_same_floats() -> None:
    items = noises([16_000] * 5 + [9_000] * 4)
    forwards = by_id(list(Predictor(tiny_model(), batch_seconds=3).predict(items)))
    backwards = by_id(list(Predictor(tiny_model(), batch_seconds=3).predict(items[::-1])))
    assert forwards == backwards


def test_emotions_are_probabilities_in_the_order_of_the_categories() -> None:
    model = tiny_model("emotion")
    (prediction,) = Predictor(model).predict(noises([16_000]))
    logits = model.eval()(torch.from_numpy(noise(16_000, 0))[None], torch.tensor([16_000])).scores
    expected = logits.exp() / logits.exp().sum()
    assert list(prediction.emotion_scores) == ["anger", "joy", "neutral"]
    assert list(prediction.emotion_scores.values()) == pytest.approx(expected[0].tolist(), abs=1e-6)
    assert prediction.dimensions is None


def test_the_duration_and_the_embedding_are_kept_where_asked_for() -> None:
    (plain,) = Predictor(tiny_model()).predict(noises([24_000]))
    assert (plain.duration_s, plain.embedding) == (1.5, None)
    (with_embedding,) = Predictor(tiny_model(), embeddings=True).predict(noises([24_000]))
    assert len(with_embedding.embedding) == 8
    assert with_embedding.dimensions == plain.dimensions


def test_bfloat16_is_close_to_float32_and_is_really_used() -> None:
    exact = by_id(list(Predictor(tiny_model()).predict(noises(LENGTHS))))
    rounded = by_id(list(Predictor(tiny_model(), dtype="bfloat16").predict(noises(LENGTHS))))
    assert exact != rounded
    for segment_id, outcome in exact.items():
        assert rounded[segment_id].dimensions == pytest.approx(outcome.dimensions, abs=0.05)


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (noise(100, 0), Reason.TOO_SHORT),
        (np.zeros(0, np.float32), Reason.TOO_SHORT),
        (np.full(16_000, np.nan, np.float32), Reason.NOT_FINITE),
        (np.full(16_000, np.inf, np.float32), Reason.NOT_FINITE),
    ],
)
def test_what_the_model_must_not_see_is_rejected(waveform: np.ndarray, reason: Reason) -> None:
    outcomes = by_id(
        list(Predictor(tiny_model()).predict([("bad", CLEAN, waveform, None), *noises([16_000])]))
    )
    assert isinstance(outcomes["s0"], Prediction)
    assert (outcomes["bad"].stage, outcomes["bad"].reason) == (Stage.SCORE, reason)


def test_a_score_that_is_not_finite_is_rejected_alone() -> None:
    class Poisoned(FakeModel):
        def forward(
            self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor, transcripts: None
        ) -> ModelOutput:
            output = super().forward(waveform_BN, num_samples_B)
            poison_B = torch.where(num_samples_B == 9_000, torch.nan, 0.0)
            return output._replace(scores=output.scores + poison_B[:, None])

    outcomes = by_id(list(Predictor(Poisoned()).predict(noises([9_000, 9_001]))))
    assert outcomes["s0"].reason == Reason.SCORE_NOT_FINITE
    assert isinstance(outcomes["s1"], Prediction)


def test_batches_are_sorted_by_length_and_within_the_budget() -> None:
    model = FakeModel()
    predictor = Predictor(model, batch_seconds=12.0)
    rng = np.random.default_rng(0)
    lengths = rng.integers(8_000, 40_000, size=60).tolist()
    assert len(list(predictor.predict(noises(lengths)))) == 60
    for batch in model.batches:
        assert len(batch) * max(batch) <= 12.0 * 16_000
        assert min(batch) >= 0.9 * max(batch)
    assert max(len(batch) for batch in model.batches) > 4
    assert [n for batch in model.batches for n in batch] == sorted(lengths, reverse=True)
    assert predictor.workload == Workload(
        num_samples=sum(lengths), num_padded_samples=sum(len(b) * max(b) for b in model.batches)
    )


def test_a_model_that_leaves_padding_out_gets_full_batches_of_any_lengths() -> None:
    model = FakeModel(padding_free=True)
    predictor = Predictor(model, batch_seconds=12.0)
    lengths = [100_000, 20_000, 400, 30_000, 90_000]
    assert len(list(predictor.predict(noises(lengths)))) == 5
    assert model.batches == [[100_000], [90_000, 30_000], [20_000, 400]]
    assert predictor.workload.padding_waste == 0.0


def test_padding_is_little_on_segments_as_podcasts_have_them() -> None:
    predictor = Predictor(FakeModel())
    lengths = podcast_lengths(600, seed=0)
    list(predictor.predict((f"s{i}", CLEAN, noise(n, i), None) for i, n in enumerate(lengths)))
    assert 0 < predictor.workload.padding_waste <= 0.05


def test_segments_are_read_a_window_at_a_time() -> None:
    num_read = 0

    def read():
        nonlocal num_read
        for item in noises([16_000] * 50):
            num_read += 1
            yield item

    predictions = Predictor(FakeModel(), batch_seconds=1.0).predict(read())
    next(predictions)
    assert num_read == 10
    assert len(list(predictions)) == 49


def out_of_memory_above(num_padded: int) -> Callable[[list[int]], None]:
    def fail(lengths: list[int]) -> None:
        if len(lengths) * max(lengths) > num_padded:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    return fail


def test_a_batch_that_does_not_fit_is_halved_and_the_budget_is_remembered() -> None:
    model = FakeModel(out_of_memory_above(3 * 16_000))
    predictor = Predictor(model, batch_seconds=8.0)
    outcomes = by_id(list(predictor.predict(noises([16_000] * 24))))
    assert all(isinstance(outcome, Prediction) for outcome in outcomes.values())
    assert len(outcomes) == 24
    assert predictor.batch_seconds == 2.0
    sizes = [len(batch) for batch in model.batches]
    assert sizes == [8, 4, 2, 2, 4, 2, 2] + [2] * 8
    model.batches.clear()
    list(predictor.predict(noises([16_000] * 4)))
    assert [len(batch) for batch in model.batches] == [2, 2]


def test_one_segment_that_never_fits_is_rejected_and_costs_the_others_nothing() -> None:
    def fail(lengths: list[int]) -> None:
        if 16_001 in lengths:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    predictor = Predictor(FakeModel(fail), batch_seconds=8.1)
    outcomes = by_id(list(predictor.predict(noises([16_000] * 15 + [16_001]))))
    rejected = [o for o in outcomes.values() if isinstance(o, Rejection)]
    assert [(r.segment_id, r.reason) for r in rejected] == [("s15", Reason.OUT_OF_MEMORY)]
    assert len(outcomes) == 16
    assert predictor.batch_seconds == pytest.approx(4.0, abs=0.01)


def fails_of(bad: int, error: Exception) -> Callable[[list[int]], None]:
    def fail(lengths: list[int]) -> None:
        if bad in lengths:
            raise error

    return fail


def test_a_segment_of_which_the_model_fails_is_rejected_alone_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = FakeModel(fails_of(16_001, IndexError("index 7 is out of bounds\nand more")))
    predictor = Predictor(model, batch_seconds=8.1)
    outcomes = by_id(list(predictor.predict(noises([16_000] * 15 + [16_001]))))
    rejected = [o for o in outcomes.values() if isinstance(o, Rejection)]
    assert [(r.segment_id, r.stage, r.reason) for r in rejected] == [
        ("s15", Stage.SCORE, Reason.MODEL_FAILED)
    ]
    assert rejected[0].detail == "IndexError: index 7 is out of bounds"
    assert len(outcomes) == 16
    assert predictor.batch_seconds == 8.1, "the failure says nothing of memory"
    assert [record.getMessage() for record in caplog.records] == [
        "the model fails of segment 's15': IndexError: index 7 is out of bounds"
    ]


@pytest.mark.parametrize("num_segments", [1, 3])
def test_a_few_segments_may_all_be_bad(num_segments: int) -> None:
    model = FakeModel(fails_of(16_000, RuntimeError("shapes")))
    outcomes = list(Predictor(model).predict(noises([16_000] * num_segments)))
    assert [outcome.reason for outcome in outcomes] == [Reason.MODEL_FAILED] * num_segments


def test_a_model_that_fails_of_every_segment_is_broken() -> None:
    model = FakeModel(fails_of(16_000, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes"):
        list(Predictor(model).predict(noises([16_000] * 4)))


def test_a_model_is_judged_by_every_window_alone() -> None:
    model = FakeModel(fails_of(16_000, RuntimeError("shapes")))
    outcomes = Predictor(model, batch_seconds=1.0).predict(noises([8_000] * 20 + [16_000] * 10))
    assert all(isinstance(next(outcomes), Prediction) for _ in range(20))
    with pytest.raises(RuntimeError, match="shapes"):
        next(outcomes)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        UnfinishedError("stopped by SIGTERM"),
    ],
)
def test_a_lost_device_and_the_end_of_the_command_are_no_segments_fault(error: Exception) -> None:
    model = FakeModel(fails_of(16_001, error))
    with pytest.raises(type(error), match=str(error)):
        list(Predictor(model, batch_seconds=8.1).predict(noises([16_000] * 15 + [16_001])))
    assert len(model.batches) == 1


def test_a_failed_batch_has_left_the_memory_before_its_halves_are_tried() -> None:
    left: list[weakref.ref[torch.Tensor]] = []

    class Greedy(FakeModel):
        def forward(
            self, waveform_BN: torch.Tensor, num_samples_B: torch.Tensor, transcripts: None
        ) -> ModelOutput:
            assert all(tensor() is None for tensor in left)
            activations = waveform_BN + 1.0
            left.append(weakref.ref(activations))
            return super().forward(waveform_BN, num_samples_B)

    model = Greedy(out_of_memory_above(2 * 16_000))
    assert len(list(Predictor(model).predict(noises([16_000] * 8)))) == 8
    assert len(model.batches) == 7


def test_a_smaller_budget_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    predictor = Predictor(FakeModel(out_of_memory_above(3 * 16_000)), batch_seconds=8.0)
    list(predictor.predict(noises([16_000] * 24)))
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: batches hold 2 s of audio from now on"
    ]


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"batch_seconds": 0.0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"float16|batch_seconds"):
        Predictor(tiny_model(), **options)
