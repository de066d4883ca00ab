"""Models that do not listen are not admitted, over many seeds; those that do are."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.suites.judging import judge_suite
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.concordance import concordance_cc_of, pearson_cc_of
from ser_model.metrics.intervals import Scale, effective_speakers, speaker_interval
from ser_model.metrics.moments import CoMoments
from ser_model.metrics.recall import Confusion, recall_per_class_of, unweighted_average_recall_of
from ser_model.schema import STATISTICS

NUM_SEEDS = 150
PER_SPEAKER = 25
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def row_of(metric, target, values_B1, scale, speakers):
    row = {"model_version": "m", "condition": "clean", "slice_by": "", "slice": ""}
    row |= {"target": target, "metric": metric, "num_segments": 1, "num_speakers": 1}
    if not np.isfinite(values_B1[0]):
        return {**row, "reason": "no variance"}
    low, high = speaker_interval(values_B1, speakers, scale)
    return {**row, "value": float(values_B1[0]), "ci_low": low, "ci_high": high}


def weights_of(num_speakers):
    keys = speaker_keys([f"speaker {n}" for n in range(num_speakers)])
    drawn = poisson_weights(keys, seed=0, num_replicates=200)
    return np.vstack([np.ones_like(drawn[:1]), drawn])


def judge_dimension(truth, prediction, speaker, num_speakers):
    moments = CoMoments.from_groups(truth, prediction, speaker, num_speakers)
    totals = moments.weighted_totals(weights_of(num_speakers))
    speakers = effective_speakers(totals.n, num_speakers)
    rows = [
        row_of(name, "arousal", of(totals), Scale.CORRELATION, speakers)
        for name, of in (("concordance_cc", concordance_cc_of), ("pearson_cc", pearson_cc_of))
    ]
    return only_model(rows)


def judge_emotions(truth, prediction, speaker, num_speakers):
    counts = np.zeros((num_speakers, len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (speaker, truth, prediction), 1.0)
    flat = weights_of(num_speakers).astype(float) @ counts.reshape(num_speakers, -1)
    totals = Confusion(classes=EMOTIONS, counts=flat.reshape(-1, 4, 4))
    speakers = effective_speakers(totals.num_segments, num_speakers)
    uar = unweighted_average_recall_of(totals)
    rows = [row_of("unweighted_average_recall", "emotion", uar, Scale.SHARE, speakers)]
    recalls = recall_per_class_of(totals)
    rows += [
        row_of(f"recall[{name}]", "emotion", recalls[:, index], Scale.SHARE, speakers)
        for index, name in enumerate(EMOTIONS)
    ]
    return only_model(rows)


def only_model(rows):
    result = judge_suite("ser-tests", pa.Table.from_pylist(rows, schema=STATISTICS), ())
    (model,) = result.models
    outcomes = set(result.tests.column("outcome").to_pylist())
    assert (outcomes == {"not admissible"}) != model["is_admissible"]
    assert (model["pass_rate"] is None) != model["is_admissible"]
    return model


def clustered(random, speaker, spread_between):
    effect = random.normal(0, spread_between, speaker.max() + 1)[speaker]
    own = random.normal(0, np.sqrt(max(0.17**2 - spread_between**2, 0)), speaker.size)
    return np.clip(0.5 + effect + own, 0, 1)


def wrong_dimension(kind, random, truth, speaker):
    if kind == "random":
        return random.normal(0.5, 1 / 6, truth.size)
    if kind == "random by speaker":
        return clustered(random, speaker, 0.09)
    if kind == "constant":
        return np.full(truth.size, 0.5)
    if kind == "hardly moving":
        return 0.5 + 0.02 * (truth - 0.5)
    if kind == "upside down":
        return 1 - truth
    good = truth + random.normal(0, 0.05, truth.size)
    return random.permutation(good)


@pytest.mark.parametrize("num_speakers", [4, 12, 40])
@pytest.mark.parametrize(
    "kind",
    ["random", "random by speaker", "constant", "hardly moving", "upside down", "shuffled"],
)
def test_dimensions_that_do_not_follow_the_truth_are_not_admitted(kind, num_speakers):
    """Speakers differ in their truth too: an ICC of .28. One in 150 may slip in by chance."""
    admitted = 0
    for seed in range(NUM_SEEDS):
        random = np.random.default_rng(seed)
        speaker = np.repeat(np.arange(num_speakers), PER_SPEAKER)
        truth = clustered(random, speaker, 0.09)
        prediction = wrong_dimension(kind, random, truth, speaker)
        admitted += judge_dimension(truth, prediction, speaker, num_speakers)["is_admissible"]
    assert admitted <= 1


@pytest.mark.parametrize("num_speakers", [4, 12, 40])
@pytest.mark.parametrize("kind", ["random", "random by prior", "majority", "shuffled"])
def test_emotions_that_do_not_follow_the_truth_are_not_admitted(kind, num_speakers):
    for seed in range(NUM_SEEDS):
        random = np.random.default_rng(seed)
        speaker = np.repeat(np.arange(num_speakers), PER_SPEAKER)
        prior = np.array([0.5, 0.25, 0.15, 0.1])
        truth = random.choice(4, speaker.size, p=prior)
        good = np.where(random.random(truth.size) < 0.8, truth, random.integers(0, 4, truth.size))
        prediction = {
            "random": random.integers(0, 4, truth.size),
            "random by prior": random.choice(4, truth.size, p=prior),
            "majority": np.zeros_like(truth),
            "shuffled": random.permutation(good),
        }[kind]
        assert not judge_emotions(truth, prediction, speaker, num_speakers)["is_admissible"], seed


@pytest.mark.parametrize(("noise", "num_speakers"), [(0.1, 6), (0.2, 12), (0.3, 40)])
def test_dimensions_that_follow_the_truth_are_admitted(noise, num_speakers):
    """CCC of about .83, .6 and .4."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        speaker = np.repeat(np.arange(num_speakers), PER_SPEAKER)
        truth = clustered(random, speaker, 0.09)
        prediction = truth + random.normal(0, noise, truth.size)
        assert judge_dimension(truth, prediction, speaker, num_speakers)["is_admissible"], seed


def test_emotions_that_follow_the_truth_are_admitted():
    for seed in range(20):
        random = np.random.default_rng(seed)
        speaker = np.repeat(np.arange(12), PER_SPEAKER)
        truth = random.choice(4, speaker.size, p=[0.5, 0.25, 0.15, 0.1])
        said = np.where(random.random(truth.size) < 0.5, truth, random.integers(0, 4, truth.size))
        assert judge_emotions(truth, said, speaker, 12)["is_admissible"], seed


def test_constant_predictions_say_that_they_do_not_vary():
    random = np.random.default_rng(0)
    speaker = np.repeat(np.arange(12), PER_SPEAKER)
    truth = clustered(random, speaker, 0.09)
    model = judge_dimension(truth, np.full(truth.size, 0.5), speaker, 12)
    assert model["targets"]["arousal"]["reason"] == "predictions of arousal do not vary"
