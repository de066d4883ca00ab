"""The correctness tests of ser-tests (Derington et al. 2023, arXiv 2312.06270)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pipelines.suites.corpus import Corpus
from pipelines.suites.suite_test import Comparison, SuiteTest
from pipelines.transforms.expected_ranges import EXPECTED_RANGES
from pipelines.transforms.group_sums import BY_EMOTION

ABOVE, BELOW, WITHIN = Comparison.ABOVE, Comparison.BELOW, Comparison.WITHIN

OF_DIMENSIONS = (
    ("regression", "Concordance Correlation Coeff", "concordance_cc", ABOVE, 0.5),
    ("regression", "Pearson Correlation Coeff", "pearson_cc", ABOVE, 0.5),
    ("regression", "Mean Absolute Error", "mean_absolute_error", BELOW, 0.1),
    ("distribution", "Jensen Shannon Distance", "jensen_shannon_distance", BELOW, 0.2),
    (
        "speaker average",
        "Mean Absolute Error",
        "speaker_average_mean_absolute_error",
        BELOW,
        0.1,
    ),
    ("speaker ranking", "Spearmans Rho", "speaker_ranking", ABOVE, 0.7),
)

OF_EMOTIONS = (
    (
        "classification",
        "Unweighted Average Precision",
        "unweighted_average_precision",
        ABOVE,
        0.5,
    ),
    ("classification", "Unweighted Average Recall", "unweighted_average_recall", ABOVE, 0.5),
)

OF_EACH_EMOTION = (
    ("classification", "Precision Per Class", "precision", ABOVE, 0.5),
    ("classification", "Recall Per Class", "recall", ABOVE, 0.5),
    ("distribution", "Relative Difference Per Class", "relative_difference", WITHIN, 0.15),
    (
        "speaker average",
        "Class Proportion Mean Absolute Error",
        "speaker_class_share_mean_absolute_error",
        BELOW,
        0.1,
    ),
    ("speaker ranking", "Spearmans Rho", "speaker_class_share_ranking", ABOVE, 0.7),
)

IN_EXPECTED_RANGE = 0.75


def correctness_tests(target: str, corpus: Corpus) -> Iterator[SuiteTest]:
    """Yield the tests of a target."""
    of = partial(SuiteTest, target=target, if_absent=f"there is no prediction of {target}")
    for family, name, metric, comparison, threshold in (
        OF_EMOTIONS if target == "emotion" else OF_DIMENSIONS
    ):
        yield of(
            family=f"correctness {family}",
            name=name,
            metric=metric,
            comparison=comparison,
            threshold=threshold,
        )
    if target != "emotion":
        yield from consistency_tests(target)
        return
    for family, name, metric, comparison, threshold in OF_EACH_EMOTION:
        for emotion in corpus.emotions:
            yield of(
                family=f"correctness {family}",
                name=name,
                metric=f"{metric}[{emotion}]",
                comparison=comparison,
                threshold=threshold,
            )


def consistency_tests(dimension: str) -> Iterator[SuiteTest]:
    """Yield the tests whether a dimension fits the emotion in the truth."""
    for place, emotions in EXPECTED_RANGES[dimension].items():
        for emotion in emotions:
            yield SuiteTest(
                family="correctness consistency",
                name=f"Samples in Expected {place.title()} Range",
                target=dimension,
                metric="expected_range_share",
                comparison=Comparison.ABOVE,
                threshold=IN_EXPECTED_RANGE,
                slice_by=BY_EMOTION,
                slice=f"{BY_EMOTION}={emotion}",
                if_absent=f"the truth has no emotion {emotion!r}",
            )
