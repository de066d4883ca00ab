"""Support vector machines by scikit-learn, and what comes out as an `EmotionModel`.

Shapes: N segments, D features, S support vectors, P decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ser_model.models.base import EmotionModel, ModelConfig
from ser_model.models.egemaps import EgemapsConfig
from ser_model.models.support_vectors import SupportVectorConfig
from ser_model.schema import ConfigError
from ser_model.training.checkpoint import Evaluation
from ser_model.training.evaluation import metrics_of, score_examples
from ser_model.training.examples import Example, truth_of
from ser_model.training.loop import TrainResult
from ser_model.training.support_vector_recipe import SupportVectorRecipe

if TYPE_CHECKING:
    from sklearn.svm import SVC, SVR

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]


def fit(
    recipe: SupportVectorRecipe,
    features_ND: Features,
    truth: npt.NDArray[np.int64] | Floats,
    targets: Sequence[str],
) -> EmotionModel:
    """Train a model on features; it comes back in eval mode and predicts as scikit-learn does.

    Args:
        recipe: kernel, C and the rest.
        features_ND: of the training segments, as `ser_model.models.egemaps.functionals` makes them.
        truth: for emotion the index of the category, [N]; for dimensions the values, [N, 3].
        targets: what the scores will mean.

    Raises:
        ConfigError: scikit-learn or openSMILE is not installed.
        ValueError: a category has no segment, or a feature is not finite.
    """
    check_scikit_learn()
    if recipe.task == "emotion" and len(np.unique(truth)) != len(targets):
        raise ValueError(f"{len(np.unique(truth))} of {len(targets)} categories have a segment")
    mean_D = features_ND.mean(axis=0, dtype=np.float64)
    scale_D = features_ND.std(axis=0, dtype=np.float64)
    scale_D[scale_D == 0] = 1.0  # as scikit-learn's StandardScaler: a constant feature stays
    scaled_ND = (features_ND - mean_D) / scale_D
    variance = scaled_ND.var()
    gamma = 1.0 / (scaled_ND.shape[1] * variance) if variance > 0 else 1.0  # "scale"
    if recipe.task == "emotion":
        used, coefficients_NP, intercepts_P = _fit_pairs(recipe, scaled_ND, truth, gamma)
    else:
        used, coefficients_NP, intercepts_P = _fit_dimensions(recipe, scaled_ND, truth, gamma)
    model = _empty_model(recipe, targets, num_support_vectors=len(used))
    numbers = {
        "mean": mean_D,
        "scale": scale_D,
        "support": scaled_ND[used],
        "coefficients": coefficients_NP[used],
        "intercepts": intercepts_P,
        "gamma": np.float64(gamma),
    }
    model.head.load_state_dict({name: torch.as_tensor(value) for name, value in numbers.items()})
    return model.eval()


def train_support_vectors(
    recipe: SupportVectorRecipe,
    targets: Sequence[str],
    train_set: Sequence[Example],
    dev_set: Sequence[Example],
) -> TrainResult:
    """Train a machine, as `ser_model.training.loop.train` trains a network.

    Args:
        recipe: how.
        targets: what the scores will mean.
        train_set: with functionals for inputs.
        dev_set: of other speakers; looked at once, and nothing depends on what is seen.

    Returns:
        The model and one line of history, whose loss is 1 minus the selection metric on train.

    Raises:
        ConfigError: scikit-learn or openSMILE is not installed.
        ValueError: a category is absent from train, or the truth of train or dev does not vary.
    """
    model = _fit_examples(recipe, targets, train_set)
    metrics = {}
    for split, examples in (("train", train_set), ("dev", dev_set)):
        metrics[split] = metrics_of(score_examples(model, examples, recipe), recipe, targets)
        metrics[split]["selection"] = metrics[split][recipe.dev_metric]
    if not all(np.isfinite(of_split["selection"]) for of_split in metrics.values()):
        raise ValueError("train or dev has no finite metric: does their truth vary?")
    look = Evaluation(epoch=1, step=1, loss=1 - metrics["train"]["selection"], dev=metrics["dev"])
    if recipe.refit_with_dev:
        model = _fit_examples(recipe, targets, [*train_set, *dev_set])
    return TrainResult(model=model, history=(look,), best=look)


def _fit_examples(
    recipe: SupportVectorRecipe, targets: Sequence[str], examples: Sequence[Example]
) -> EmotionModel:
    features_ND = np.stack([example.read()[0].numpy() for example in examples])
    return fit(recipe, features_ND, truth_of(examples).numpy(), targets)


def normalise_speakers(features_ND: Features, speakers: Sequence[str]) -> Features:
    """Return the features with mean 0 and standard deviation 1 within every speaker.

    This is transductive: it needs all segments of a speaker before the first can be scored, though
    the truth of none. A feature that does not vary within a speaker becomes 0.

    Example:
        >>> features_ND = np.array([[1.0], [3.0], [10.0], [10.0]], dtype=np.float32)
        >>> normalise_speakers(features_ND, ["a", "a", "b", "b"]).ravel().tolist()
        [-1.0, 1.0, 0.0, 0.0]
    """
    normalised_ND = np.empty_like(features_ND)
    speaker_N = np.asarray(speakers)
    for speaker in sorted(set(speakers)):
        of_speaker = speaker_N == speaker
        rows = features_ND[of_speaker].astype(np.float64)
        scale_D = rows.std(axis=0)
        scale_D[scale_D == 0] = 1.0
        normalised_ND[of_speaker] = (rows - rows.mean(axis=0)) / scale_D
    return normalised_ND


def check_scikit_learn() -> None:
    """Refuse to go on without scikit-learn.

    Raises:
        ConfigError: it is not installed; the message names the extra that has it.
    """
    if find_spec("sklearn") is None:
        raise ConfigError(
            "training a support vector machine needs scikit-learn: pip install 'serval[egemaps]'"
        )


def _fit_pairs(
    recipe: SupportVectorRecipe, scaled_ND: Floats, truth_N: npt.NDArray[np.generic], gamma: float
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Return the indices of support vectors, coefficients_NP of pairs and intercepts_P."""
    from sklearn.svm import SVC

    machine = SVC(
        kernel=recipe.kernel, C=recipe.c, gamma=gamma, class_weight=recipe.class_weight
    ).fit(scaled_ND, truth_N)
    return machine.support_, _pair_coefficients(machine, len(scaled_ND)), _pair_intercepts(machine)


def _pair_coefficients(machine: SVC, num_segments: int) -> Floats:
    """Spread libsvm's packed coefficients over the decisions that they belong to.

    Of a support vector of category i, row j - 1 (j > i) or j (j < i) of `dual_coef_` holds the
    coefficient against category j: scikit-learn's guide, "Details on multi-class strategies".
    """
    num_categories = len(machine.classes_)
    category_S = np.repeat(np.arange(num_categories), machine.n_support_)
    sign = _binary_sign(machine)
    pairs = list(combinations(range(num_categories), 2))
    coefficients_NP = np.zeros((num_segments, len(pairs)))
    for at, (first, second) in enumerate(pairs):
        of_first, of_second = category_S == first, category_S == second
        packed = sign * machine.dual_coef_
        coefficients_NP[machine.support_[of_first], at] = packed[second - 1, of_first]
        coefficients_NP[machine.support_[of_second], at] = packed[first, of_second]
    return coefficients_NP


def _pair_intercepts(machine: SVC) -> Floats:
    intercepts_P: Floats = _binary_sign(machine) * machine.intercept_
    return intercepts_P


def _binary_sign(machine: SVC) -> float:
    """Of two categories alone, scikit-learn turns the decision round: above 0 is the second."""
    return -1.0 if len(machine.classes_) == 2 else 1.0


def _fit_dimensions(
    recipe: SupportVectorRecipe, scaled_ND: Floats, truth_NP: npt.NDArray[np.generic], gamma: float
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Fit one regression a dimension; together they keep the support vectors of any."""
    from sklearn.svm import SVR

    machines: list[SVR] = [
        SVR(kernel=recipe.kernel, C=recipe.c, gamma=gamma, epsilon=recipe.epsilon).fit(
            scaled_ND, truth_N
        )
        for truth_N in truth_NP.T
    ]
    coefficients_NP = np.zeros((len(scaled_ND), len(machines)))
    for at, machine in enumerate(machines):
        coefficients_NP[machine.support_, at] = machine.dual_coef_[0]
    used = np.flatnonzero(coefficients_NP.any(axis=1))
    if len(used) == 0:  # the truth varies by less than epsilon: any vector serves, with weight 0
        used = np.array([0])
    return used, coefficients_NP, np.concatenate([m.intercept_ for m in machines])


def _empty_model(
    recipe: SupportVectorRecipe, targets: Sequence[str], *, num_support_vectors: int
) -> EmotionModel:
    return EmotionModel(
        ModelConfig(
            task=recipe.task,
            targets=tuple(targets),
            backbone=EgemapsConfig(
                feature_set=recipe.feature_set, speaker_normalised=recipe.speaker_normalisation
            ),
            pooling="mean",  # of one frame
            head=SupportVectorConfig(kernel=recipe.kernel, num_support_vectors=num_support_vectors),
        )
    )
