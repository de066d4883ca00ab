"""The head says what scikit-learn says, from numbers that safetensors keeps."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_model.models.base import EmotionModel
from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.schema import DIMENSIONS, ConfigError, ModelError
from ser_model.training import support_vectors
from ser_model.training.settings import DataConfig
from ser_model.training.support_vector_recipe import SupportVectorRecipe
from ser_model.training.support_vectors import fit, normalise_speakers

absent = [name for name in ("opensmile", "sklearn") if importlib.util.find_spec(name) is None]
needs_the_extra = pytest.mark.skipif(
    bool(absent), reason=f"{', '.join(absent)} not installed (pip install 'serval[egemaps]')"
)
NAMES = tuple("abcdefgh")


def clusters(num_categories: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clusters of unequal size, with a feature that never varies."""
    rng = np.random.default_rng(num_categories)
    truth = np.repeat(np.arange(num_categories), np.arange(num_categories) * 3 + 12)
    centres = rng.normal(0, 1, (num_categories, 88))
    features = (centres[truth] + rng.normal(0, 4, (len(truth), 88))) * rng.uniform(0.1, 100, 88)
    features[:, 7] = 3.0
    return features.astype(np.float32), truth


def recipe(**fields: object) -> SupportVectorRecipe:
    return SupportVectorRecipe(description="a test's", **fields)


@torch.inference_mode()
def score_features(model: EmotionModel, features: np.ndarray) -> np.ndarray:
    num_frames = torch.ones(len(features), dtype=torch.int64)
    return model.score(torch.from_numpy(features)[:, None], num_frames).scores.numpy()


@needs_the_extra
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("class_weight", ["balanced", None])
@pytest.mark.parametrize("num_categories", [2, 3, 8])
def test_emotions_are_those_that_scikit_learn_predicts(
    kernel: str, class_weight: str | None, num_categories: int
) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    features, truth = clusters(num_categories)
    seen = np.arange(len(truth)) % 3 > 0
    plain = make_pipeline(
        StandardScaler(), SVC(kernel=kernel, class_weight=class_weight, break_ties=True)
    ).fit(features[seen].astype(np.float64), truth[seen])
    model = fit(
        recipe(kernel=kernel, class_weight=class_weight),
        features[seen],
        truth[seen],
        NAMES[:num_categories],
    )
    scores = score_features(model, features)
    decisions = plain.decision_function(features.astype(np.float64))
    if num_categories == 2:
        assert np.array_equal(scores[:, 1] > scores[:, 0], decisions > 0)
    else:
        np.testing.assert_allclose(scores, decisions, atol=1e-5)
    assert np.array_equal(scores.argmax(axis=1), plain.predict(features.astype(np.float64)))
    assert 0 < (scores.argmax(axis=1) == truth)[~seen].mean() < 1, "the test tests something"


@needs_the_extra
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_dimensions_are_those_that_scikit_learn_predicts(kernel: str) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    features, cluster = clusters(8)
    truth = np.stack([cluster / 7, 1 - cluster / 7, (cluster % 2) * 0.5], axis=1)
    model = fit(recipe(task="dimensions", kernel=kernel, epsilon=0.05), features, truth, DIMENSIONS)
    expected = [
        make_pipeline(StandardScaler(), SVR(kernel=kernel, epsilon=0.05))
        .fit(features.astype(np.float64), column)
        .predict(features.astype(np.float64))
        for column in truth.T
    ]
    np.testing.assert_allclose(score_features(model, features), np.stack(expected, 1), atol=1e-5)


@needs_the_extra
def test_truth_that_never_varies_gives_its_value() -> None:
    features, cluster = clusters(3)
    model = fit(recipe(task="dimensions"), features, np.full((len(cluster), 3), 0.4), DIMENSIONS)
    np.testing.assert_allclose(score_features(model, features), 0.4, atol=1e-6)


@needs_the_extra
def test_a_stored_model_comes_back_with_the_same_scores(tmp_path: Path) -> None:
    features, truth = clusters(3)
    model = fit(recipe(), features, truth, NAMES[:3])
    save_model(model, str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    loaded = load_model(str(tmp_path))
    assert weights_sha256(loaded) == weights_sha256(model)
    assert np.array_equal(score_features(loaded, features), score_features(model, features))


@needs_the_extra
def test_a_category_without_a_segment_is_refused() -> None:
    features, truth = clusters(3)
    with pytest.raises(ValueError, match="2 of 3 categories have a segment"):
        fit(recipe(), features[truth > 0], truth[truth > 0], NAMES[:3])


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = clusters(2)
    monkeypatch.setattr(support_vectors, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'serval\[egemaps\]'"):
        fit(recipe(), features, truth, NAMES[:2])


def test_speakers_are_normalised_each_by_its_own() -> None:
    rng = np.random.default_rng(0)
    speakers = [f"s{number % 3}" for number in range(30)]
    own = np.array([[float(name[1:])] * 4 for name in speakers])
    features = (rng.normal(0, 1 + own, own.shape) + 100 * own).astype(np.float32)
    normalised = normalise_speakers(features, speakers)
    for name in set(speakers):
        rows = normalised[np.array(speakers) == name]
        np.testing.assert_allclose(rows.mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(rows.std(axis=0), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"c": 0.0}, "c 0.0 is not positive"),
        ({"epsilon": -0.1}, "epsilon -0.1 is negative"),
        ({"seed": 1}, "a machine has nothing random"),
        ({"num_seeds": 2}, "a machine has nothing random"),
        ({"speaker_normalisation": True}, "for cross-validation alone"),
    ],
)
def test_what_cannot_be_trained_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**fields)


@needs_the_extra
def test_a_model_of_normalised_speakers_is_not_loaded_to_score_segments(tmp_path: Path) -> None:
    features, truth = clusters(3)
    model = fit(
        recipe(speaker_normalisation=True, data=DataConfig(fold_by="speaker_id")),
        features,
        truth,
        NAMES[:3],
    )
    save_model(model, str(tmp_path))
    with pytest.raises(ModelError, match="cannot score a segment without the speaker's others"):
        load_model(str(tmp_path))
