"""What a suite of tests found, in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_REASONS = 4
"""Targets whose want of admission is told; three dimensions and the emotions."""


def suite_lines(audit: Mapping[str, Any]) -> list[str]:
    """Say of each model how its tests came out, or why they were not judged.

    Args:
        audit: audit.json; says nothing where no suite was asked for.
    """
    suite = audit.get("suite")
    if suite is None:
        return []
    lines = []
    for model in suite["models"]:
        lines += _lines_of_model(suite["name"], model)
    return lines


def _lines_of_model(suite: str, model: Mapping[str, Any]) -> list[str]:
    outcomes = model["outcomes"]
    counts = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    head = f"suite {suite}, model {model['model_version']}: of {model['num_tests']} tests {counts}"
    if model["pass_rate"] is not None:
        head += f" (pass rate {model['pass_rate']:.3f}, what is skipped counts as not passed)"
    refused = [one["reason"] for one in model["targets"].values() if one["reason"] is not None]
    return [head, *(f"  not admissible: {reason}" for reason in refused[:MAX_REASONS])]
