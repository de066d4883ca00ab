"""Reads options of `serval audit` that are more than a number."""

from __future__ import annotations

from collections.abc import Sequence

from ser_model.manifest import parse_truth_range
from ser_model.schema import ConfigError

MIN_RUNS = 2
"""A system needs so many runs: one has no spread."""


def parse_systems(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read NAME=VERSION,VERSION, a system of several runs each.

    >>> parse_systems(["cnn14=1,2,3", "fusion=4,5"])
    {'cnn14': ('1', '2', '3'), 'fusion': ('4', '5')}

    Raises:
        ConfigError: a text is something else, a system has fewer than MIN_RUNS versions or stands
            there twice, or a version belongs to two.
    """
    systems: dict[str, tuple[str, ...]] = {}
    system_of: dict[str, str] = {}
    for text in texts:
        name, _, listed = (part.strip() for part in text.partition("="))
        versions = [version.strip() for version in listed.split(",")]
        if not name or not all(versions):
            raise ConfigError(f"--system {text!r} is not NAME=VERSION,VERSION")
        if name in systems:
            raise ConfigError(f"--system {name} stands there twice; list all its versions in one")
        if len(versions) < MIN_RUNS:
            raise ConfigError(
                f"--system {name} has one run, {versions[0]}; a test over runs needs {MIN_RUNS}"
            )
        for version in versions:
            if version in system_of:
                raise ConfigError(
                    f"--system {name}: the model version {version!r} belongs to "
                    f"{system_of[version]} already"
                )
            system_of[version] = name
        systems[name] = tuple(versions)
    return systems


def parse_prediction_range(text: str) -> tuple[float, float]:
    """Read LOW:HIGH, the scale of the predictions.

    >>> parse_prediction_range("-3:3")
    (-3.0, 3.0)

    Raises:
        ConfigError: this is no range.
    """
    try:
        return parse_truth_range(text)
    except ConfigError as error:
        raise ConfigError(
            f"--prediction-range {text!r} is not LOW:HIGH, for example 1:7"
        ) from error
