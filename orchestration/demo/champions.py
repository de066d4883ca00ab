"""Trains a recipe on the demo's corpus and makes the model the champion of its name."""

from __future__ import annotations

from collections.abc import Mapping


def champion_uri(name: str) -> str:
    """Return the URI under which the champion of a name is scored with."""
    return f"models:/{name}@champion"


def train_champion(
    recipe: str, manifest_uri: str, output: str, *, name: str, seed: int
) -> Mapping[str, object]:
    """Train, register, and give the version its alias; resumes a training that was cut short.

    Args:
        recipe: one of a single seed.
        manifest_uri: with truth and splits.
        output: folder of the model.
        name: registered model.
        seed: of the training.

    Returns:
        What the step keeps of it.
    """
    from orchestration.registry import set_alias
    from orchestration.training import train_recipe
    from orchestration.training_record import TrainSummary

    summary = train_recipe(recipe, manifest_uri, output, name=name, overrides=(f"seed={seed}",))
    assert isinstance(summary, TrainSummary), "the demo's recipes have one seed"
    assert summary.version is not None, "a training with a name is registered"
    set_alias(name, "champion", summary.version)
    return {"model_uri": summary.model_uri, "weights_sha256": summary.weights_sha256}
