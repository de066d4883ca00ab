"""The robustness tests of ser-tests (Derington et al. 2023, arXiv 2312.06270).

A test rests on a condition, by the name under which it is scored, and what it is compared with:
clean audio, or another condition. Its statistics stand in `slice_by` "condition", `slice`
"condition=NAME-condition=REFERENCE".
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.suites.suite_test import Comparison, SuiteTest
from ser_model.schema import CLEAN

SMALL_CHANGES = {
    "Additive Tone": "small-tone",
    "Append Zeros": "small-append-zeros",
    "Clip": "small-clip",
    "Crop Beginning": "small-crop-beginning",
    "Crop End": "small-crop-end",
    "Gain": "small-gain",
    "Highpass Filter": "small-high-pass",
    "Lowpass Filter": "small-low-pass",
    "Prepend Zeros": "small-prepend-zeros",
    "White Noise": "small-white-noise",
}

BACKGROUND_NOISE = {
    "Babble Noise": "babble-20db",
    "Coughing": "coughing-10db",
    "Environmental Noise": "environmental-20db",
    "Music": "music-20db",
    "Sneezing": "sneezing-10db",
    "White Noise": "white-noise-20db",
}

LOW_QUALITY_PHONE = {"Low Quality Phone": "phone"}

SPECTRAL_TILT = {"Downward Tilt": "tilt-down", "Upward Tilt": "tilt-up"}

RECORDING_CONDITION = {"Recording Condition": ("microphone-mobile", "microphone-boundary")}

SIMULATED_RECORDING_CONDITION = {
    "Simulated Position": ("position-3m", "position-1m"),
    "Simulated Room": ("room-office", "room-booth"),
}

REFERENCES = dict([*RECORDING_CONDITION.values(), *SIMULATED_RECORDING_CONDITION.values()])
"""Conditions that are not compared with clean audio alone, and with what."""

WITH_CHANGE = (
    # family, conditions, smallest change of CCC and of UAR, smallest share of the unchanged
    ("robustness background noise", BACKGROUND_NOISE, -0.05, -0.05, 0.9),
    ("robustness low quality phone", LOW_QUALITY_PHONE, -0.05, -0.05, 0.5),
    ("robustness spectral tilt", SPECTRAL_TILT, -0.05, -0.02, 0.8),
)

UNCHANGED_ONLY = (
    ("robustness recording condition", RECORDING_CONDITION, 0.8),
    ("robustness simulated recording condition", SIMULATED_RECORDING_CONDITION, 0.8),
)

SMALL_CHANGES_UNCHANGED = 0.95


def robustness_tests(target: str) -> Iterator[SuiteTest]:
    """Yield the tests of a target."""
    for family, conditions, of_ccc, of_uar, unchanged in WITH_CHANGE:
        for name, condition in conditions.items():
            is_emotion = target == "emotion"
            label = "UAR" if is_emotion else "CCC"
            metric = "unweighted_average_recall" if is_emotion else "concordance_cc"
            yield _test(
                family,
                f"Change {label} {name}",
                target,
                f"{metric}_change",
                of_uar if is_emotion else of_ccc,
                (condition, CLEAN),
            )
            yield _unchanged(family, name, target, unchanged, (condition, CLEAN))
    for family, pairs, unchanged in UNCHANGED_ONLY:
        for name, pair in pairs.items():
            yield _unchanged(family, name, target, unchanged, pair)
    for name, condition in SMALL_CHANGES.items():
        family = "robustness small changes"
        yield _unchanged(family, name, target, SMALL_CHANGES_UNCHANGED, (condition, CLEAN))


def _unchanged(
    family: str, name: str, target: str, threshold: float, pair: tuple[str, str]
) -> SuiteTest:
    name = f"Percentage Unchanged Predictions {name}"
    return _test(family, name, target, "unchanged_share", threshold, pair)


def _test(
    family: str, name: str, target: str, metric: str, threshold: float, pair: tuple[str, str]
) -> SuiteTest:
    condition, reference = pair
    return SuiteTest(
        family=family,
        name=name,
        target=target,
        metric=metric,
        comparison=Comparison.ABOVE,
        threshold=threshold,
        slice_by="condition",
        slice=f"condition={condition}-condition={reference}",
        condition=condition,
        if_absent=f"there is no {metric} of the condition {condition} against {reference}",
    )
