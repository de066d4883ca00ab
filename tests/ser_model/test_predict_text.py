"""Predictions of models that read: who has no transcript, and who shares a batch."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from ser_model.batching import Item
from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.predict import Predictor
from ser_model.schema import CLEAN, DIMENSIONS, Prediction, Reason, Rejection, Stage

MakeModel = Callable[..., EmotionModel]

TRANSCRIPTS = ["so glad", "so sad that i could weep", "", "glad " * 100_000, "так"]


@pytest.fixture
def make_model(model_that_reads: MakeModel) -> MakeModel:
    return partial(model_that_reads, TRANSCRIPTS, kind="every_block")


def items(transcripts: list[str | None]) -> list[Item]:
    rng = np.random.default_rng(0)
    return [
        (f"s{i}", CLEAN, (0.1 * rng.standard_normal(8_000 + 400 * i)).astype("float32"), transcript)
        for i, transcript in enumerate(transcripts)
    ]


def outcomes(
    model: EmotionModel, waiting: list[Item], **options: float
) -> dict[str, Prediction | Rejection]:
    return {o.segment_id: o for o in Predictor(model, **options).predict(waiting)}


@pytest.mark.parametrize("hears", [True, False])
def test_a_score_does_not_depend_on_batch_mates_or_order(
    hears: bool, make_model: MakeModel
) -> None:
    model, waiting = make_model(hears=hears), items(TRANSCRIPTS)
    alone = {item[0]: outcomes(model, [item])[item[0]].dimensions for item in waiting}
    assert len(set(alone.values())) == len(waiting)
    for order, batch_seconds in ((waiting, 120.0), (waiting[::-1], 1.3)):
        together = outcomes(model, order, batch_seconds=batch_seconds)
        for segment_id, expected in alone.items():
            assert together[segment_id].dimensions == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("hears", [True, False])
def test_a_missing_transcript_is_rejected_or_empty_as_the_model_says(
    hears: bool, make_model: MakeModel
) -> None:
    waiting = items(["so glad", None, ""])
    found = outcomes(make_model(hears=hears), waiting)
    assert isinstance(found["s0"], Prediction)
    assert isinstance(found["s2"], Prediction)
    assert isinstance(found["s1"], Rejection)
    assert (found["s1"].stage, found["s1"].reason) == (Stage.READ, Reason.NO_TRANSCRIPT)
    lenient = make_model(hears=hears, missing_transcript="empty")
    taken = outcomes(lenient, waiting)["s1"]
    given = outcomes(lenient, [(*item[:3], item[3] or "") for item in waiting])["s1"]
    assert taken.dimensions == given.dimensions


def test_a_model_of_audio_alone_does_not_look_at_transcripts() -> None:
    config = ModelConfig(
        task="dimensions",
        targets=DIMENSIONS,
        backbone=Cnn14Config(channels=(4, 8), num_pools=2),
        pooling="mean",
        head=HeadConfig(num_hidden=8),
    )
    model = build_model(config, 0)
    with_text, without = outcomes(model, items(TRANSCRIPTS)), outcomes(model, items([None] * 5))
    assert with_text == without
    assert not (model.uses_text or model.needs_transcript)
