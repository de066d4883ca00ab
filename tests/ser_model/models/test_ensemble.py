"""Models that vote as one: what they say through `predict`, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_model.models.base import ModelOutput
from ser_model.models.ensemble import (
    Ensemble,
    EnsembleConfig,
    Member,
    read_ensemble,
    save_ensemble,
)
from ser_model.predict import Predictor
from ser_model.schema import CLEAN, DIMENSIONS, ModelError, Prediction, Reason
from ser_model.voting import combine

EMOTIONS = ("anger", "joy", "sadness", "surprise")


class Stub:
    """Says of each segment what stands in a table, by the number that its samples are full of."""

    padding_free = False

    def __init__(self, scores_NK, *, task="emotion", targets=EMOTIONS, min_samples=1, reads=False):
        self.scores_NK = torch.tensor(scores_NK, dtype=torch.float32)
        self.task, self.targets, self.min_samples = task, targets, min_samples
        self.uses_text = self.needs_transcript = reads
        self.transcripts = None

    def to(self, device):
        return self

    def eval(self):
        return self

    def __call__(self, waveform_BN, num_samples_B, transcripts=None):
        self.transcripts = transcripts
        rows = waveform_BN[:, 0].round().long()
        return ModelOutput(scores=self.scores_NK[rows], embedding=waveform_BN[:, :2])


def config_of(vote, number=3):
    members = [Member(uri=f"models:/m{n}/1", weights_sha256=f"{n}") for n in range(number)]
    return EnsembleConfig(vote=vote, members=tuple(members))


def predict(model, num_segments, **options):
    items = [
        (f"{number:03}", CLEAN, np.full(100 + number, number, np.float32), "text")
        for number in range(num_segments)
    ]
    outcomes = Predictor(model, **options).predict(items)
    return sorted(outcomes, key=lambda outcome: outcome.segment_id)


@pytest.mark.parametrize("vote", ["hard", "soft"])
def test_emotions_through_predict_are_those_of_the_vote(vote):
    logits_MNK = np.random.default_rng(0).normal(0, 1.5, (3, 60, 4)).astype(np.float32)
    ensemble = Ensemble(config_of(vote), [Stub(logits_NK) for logits_NK in logits_MNK])
    probabilities_MNK = torch.softmax(torch.from_numpy(logits_MNK), dim=-1).numpy()
    expected_NK = combine(vote, probabilities_MNK.astype(np.float64))
    votes = probabilities_MNK.argmax(axis=-1)
    assert any(len(set(column)) == 3 for column in votes.T)  # there are ties to decide
    for number, outcome in enumerate(predict(ensemble, 60)):
        assert outcome.emotion == EMOTIONS[expected_NK[number].argmax()]
        assert list(outcome.emotion_scores.values()) == pytest.approx(expected_NK[number], abs=1e-6)


def test_certain_members_leave_no_room_for_the_impossible():
    certain = np.full((1, 4), -200.0)
    certain[0, 2] = 200.0
    ensemble = Ensemble(config_of("hard"), [Stub(certain)] * 3)
    (outcome,) = predict(ensemble, 1)
    assert outcome.emotion_scores == {"anger": 0.0, "joy": 0.0, "sadness": 1.0, "surprise": 0.0}


def test_dimensions_are_the_mean():
    values_MNK = np.random.default_rng(0).random((3, 10, 3))
    stubs = [Stub(v, task="dimensions", targets=DIMENSIONS) for v in values_MNK]
    for number, outcome in enumerate(predict(Ensemble(config_of("mean"), stubs), 10)):
        assert outcome.dimensions == pytest.approx(values_MNK[:, number].mean(axis=0), abs=1e-7)


def test_a_member_whose_score_is_not_finite_has_the_segment_rejected():
    scores = np.zeros((3, 4))
    broken = scores.copy()
    broken[1, 2] = np.nan
    outcomes = predict(Ensemble(config_of("hard", 2), [Stub(scores), Stub(broken)]), 3)
    assert [isinstance(outcome, Prediction) for outcome in outcomes] == [True, False, True]
    assert outcomes[1].reason == Reason.SCORE_NOT_FINITE


def test_the_most_demanding_member_decides_what_can_be_scored():
    scores = np.zeros((3, 4))
    reader = Stub(scores, reads=True)
    hearer = Stub(scores, min_samples=102)
    ensemble = Ensemble(config_of("soft", 2), [hearer, reader])
    assert (ensemble.min_samples, ensemble.uses_text, ensemble.needs_transcript) == (
        102,
        True,
        True,
    )
    outcomes = predict(ensemble, 3)
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == [
        Reason.TOO_SHORT,
        Reason.TOO_SHORT,
        None,
    ]
    assert reader.transcripts == ["text"]
    assert hearer.transcripts is None


def test_the_embedding_is_the_members_embeddings():
    ensemble = Ensemble(config_of("soft", 2), [Stub(np.zeros((3, 4)))] * 2)
    outcomes = predict(ensemble, 2, embeddings=True)
    assert outcomes[1].embedding == (1.0, 1.0, 1.0, 1.0)


def test_members_that_differ_are_listed():
    scores = np.zeros((1, 4))
    others = Stub(scores, targets=("angry", "joy", "sadness", "surprise"))
    with pytest.raises(ModelError) as caught:
        Ensemble(config_of("hard", 2), [Stub(scores), others])
    assert str(caught.value) == (
        "the members of an ensemble have different targets: models:/m0/1: anger, joy, sadness, "
        "surprise; models:/m1/1: angry, joy, sadness, surprise"
    )
    dimensional = Stub(np.zeros((1, 3)), task="dimensions", targets=DIMENSIONS)
    with pytest.raises(ModelError, match=r"different tasks: .*m0/1: emotion; .*m1/1: dimensions"):
        Ensemble(config_of("hard", 2), [Stub(scores), dimensional])
    with pytest.raises(ModelError, match="for emotion have a hard or soft vote, not a mean one"):
        Ensemble(config_of("mean", 2), [Stub(scores)] * 2)
    with pytest.raises(ModelError, match="for dimensions have a mean vote, not a hard one"):
        Ensemble(config_of("hard", 2), [dimensional] * 2)


def test_a_stored_ensemble_comes_back(tmp_path: Path):
    config = config_of("soft")
    save_ensemble(config, str(tmp_path))
    assert read_ensemble(str(tmp_path)) == config
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["format"] == "serval-ensemble"
    assert content["members"][0] == {"uri": "models:/m0/1", "weights_sha256": "0"}
    shuffled = EnsembleConfig(vote="soft", members=config.members[::-1])
    assert shuffled.sha256() == config.sha256() != config_of("hard").sha256()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vote": "loud"}, "vote is 'loud'; allowed are: hard, soft, mean"),
        ({"members": []}, "members: 0, but it takes 2 or more"),
        ({"weights": "x"}, "weights is not known"),
        (
            {"members": [{"uri": "a", "weights_sha256": "0"}, {"uri": "b", "weights_sha256": "0"}]},
            "a and b are the same model",
        ),
    ],
)
def test_a_broken_ensemble_is_refused(tmp_path: Path, change, message):
    save_ensemble(config_of("soft"), str(tmp_path))
    content = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        read_ensemble(str(tmp_path))


def test_other_folders_hold_no_ensemble(tmp_path: Path):
    assert read_ensemble(str(tmp_path)) is None
    (tmp_path / "config.json").write_text('{"format": "serval"}')
    assert read_ensemble(str(tmp_path)) is None
