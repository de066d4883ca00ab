"""UAR, UAP, WAR, F1, recall and precision against audmetric and scikit-learn, and the odd cases."""

import audmetric
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
)

from ser_model.metrics.recall import (
    Confusion,
    accuracy,
    f1_per_class,
    f1_per_class_of,
    precision_per_class,
    recall_per_class,
    unweighted_average_f1,
    unweighted_average_f1_of,
    unweighted_average_precision,
    unweighted_average_precision_of,
    unweighted_average_recall,
    unweighted_average_recall_of,
)

CLASSES = ["anger", "joy", "neutral", "sadness"]
METRICS = [
    unweighted_average_recall,
    unweighted_average_precision,
    unweighted_average_f1,
    accuracy,
    recall_per_class,
    precision_per_class,
    f1_per_class,
]


def make_pairs(seed):
    random = np.random.default_rng(seed)
    truth = random.choice(CLASSES, 100, p=[0.1, 0.2, 0.5, 0.2])
    prediction = np.where(random.random(100) < 0.6, truth, random.choice(CLASSES, 100))
    return truth.tolist(), prediction.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_against_audmetric_and_scikit_learn(seed):
    truth, prediction = make_pairs(seed)
    uar = unweighted_average_recall(truth, prediction)
    assert uar == pytest.approx(audmetric.unweighted_average_recall(truth, prediction), abs=1e-12)
    assert uar == pytest.approx(balanced_accuracy_score(truth, prediction), abs=1e-12)
    assert accuracy(truth, prediction) == pytest.approx(accuracy_score(truth, prediction))
    assert recall_per_class(truth, prediction) == pytest.approx(
        audmetric.recall_per_class(truth, prediction)
    )
    assert precision_per_class(truth, prediction) == pytest.approx(
        audmetric.precision_per_class(truth, prediction)
    )


LOPSIDED = {
    "a class that is never predicted": (["joy", "joy", "anger"], ["joy", "joy", "joy"]),
    "a class that the truth lacks": (["joy", "joy"], ["joy", "anger"]),
    "nothing right": (["joy", "anger"], ["anger", "sadness"]),
}


@pytest.mark.parametrize("pairs", [*map(make_pairs, range(3)), *LOPSIDED.values()])
def test_precision_and_f1_against_audmetric_and_scikit_learn(pairs):
    truth, prediction = pairs
    uap, f1 = unweighted_average_precision(*pairs), unweighted_average_f1(*pairs)
    assert uap == pytest.approx(audmetric.unweighted_average_precision(*pairs), abs=1e-12)
    assert uap == pytest.approx(
        precision_score(truth, prediction, average="macro", zero_division=0), abs=1e-12
    )
    assert f1 == pytest.approx(audmetric.unweighted_average_fscore(*pairs), abs=1e-12)
    assert f1 == pytest.approx(f1_score(truth, prediction, average="macro"), abs=1e-12)
    assert f1_per_class(*pairs) == pytest.approx(audmetric.fscore_per_class(*pairs))


def test_a_class_that_occurs_elsewhere_only_does_not_count_here():
    """Slices are held against each other over the classes of both."""
    truth, prediction = ["joy", "anger", "joy"], ["joy", "joy", "joy"]
    alone = Confusion.from_values(truth, prediction)
    wider = alone.over(("anger", "boredom", "joy"))
    for metric in (
        unweighted_average_recall_of,
        unweighted_average_precision_of,
        unweighted_average_f1_of,
    ):
        assert metric(wider) == pytest.approx(metric(alone))
    assert np.isnan(f1_per_class_of(wider)[1])


@pytest.mark.parametrize("seed", range(3))
def test_recall_by_counting(seed):
    truth, prediction = make_pairs(seed)
    for name in CLASSES:
        found = [said for said, is_it in zip(prediction, truth, strict=True) if is_it == name]
        assert recall_per_class(truth, prediction)[name] == found.count(name) / len(found)


CASES = {
    # name: (truth, prediction, UAR, WAR)
    "empty": ([], [], np.nan, np.nan),
    "all right": (["joy", "anger"], ["joy", "anger"], 1, 1),
    "all wrong": (["joy", "anger"], ["anger", "joy"], 0, 0),
    "one class": (["joy", "joy"], ["joy", "joy"], 1, 1),
    "a class that the truth lacks counts for nothing": (["joy", "joy"], ["joy", "anger"], 0.5, 0.5),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_cases(name):
    truth, prediction, uar, war = CASES[name]
    assert unweighted_average_recall(truth, prediction) == pytest.approx(uar, nan_ok=True)
    assert accuracy(truth, prediction) == pytest.approx(war, nan_ok=True)


PAIRS = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS, cut=st.integers(0, 30))
def test_any_split_merges_to_the_whole(pairs, cut):
    def count(part):
        return Confusion.from_values([t for t, _ in part], [p for _, p in part])

    whole, merged = count(pairs), count(pairs[:cut]).merge(count(pairs[cut:]))
    assert merged.classes == whole.classes
    np.testing.assert_array_equal(merged.counts, whole.counts)


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_must_agree(metric):
    with pytest.raises(ValueError, match="truth has 2 values, prediction 1"):
        metric(["joy", "joy"], ["joy"])
