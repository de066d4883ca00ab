"""A training in MLflow, while it runs: parameters, curves, then confusion matrix and recipe."""

from __future__ import annotations

import io
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestration import mlflow_store
from ser_model import storage
from ser_model.training.checkpoint import Evaluation, to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

RUN_NAME = "mlflow.json"
"""File beside a model that names its run, so that a resumed training goes on with it."""

PACKAGES = ("serval", "torch", "transformers", "numpy", "soxr", "soundfile", "safetensors")


class TrainingLog:
    """The MLflow run of one training, or the parent of several.

    Attributes:
        run_id: of the run.
    """

    def __init__(
        self,
        output: str,
        *,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        parent_id: str | None = None,
    ) -> None:
        """Begin a run, or go on with the one that `output` names."""
        self._client: MlflowClient = mlflow_store.open_client()
        uri = storage.join(output, RUN_NAME)
        known = storage.read_json(uri)["run_id"] if storage.exists(uri) else None
        if known is not None and mlflow_store.resume_run(self._client, known):
            self.run_id: str = known
        else:
            revision = git_revision()
            source = {} if revision is None else {"mlflow.source.git.commit": revision}
            self.run_id = mlflow_store.begin_run(
                self._client, name=name, params=params, tags={**tags, **source}, parent_id=parent_id
            )
            storage.write_json(uri, {"run_id": self.run_id})
        self._last_step = mlflow_store.last_step(self._client, self.run_id, "loss")

    def log(self, evaluation: Evaluation, *, by_step: bool) -> None:
        """Add a look at dev to the curves, unless a killed training has logged it already."""
        step = evaluation.step if by_step else evaluation.epoch
        if step > self._last_step:
            dev = {f"dev.{metric}": value for metric, value in evaluation.dev.items()}
            values = {"loss": evaluation.loss, **dev}
            mlflow_store.log_metrics(self._client, self.run_id, values, step=step)
            self._last_step = step

    def finish(
        self, record: Mapping[str, Any], *, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Store record, recipe, environment, confusion matrix and layer importance; end the run."""
        recipe = yaml.safe_dump(to_json(record["recipe"]), sort_keys=False)
        files = {
            mlflow_store.TRAINING_RECORD: storage.to_json_bytes(record),
            "recipe.yaml": recipe.encode(),
            "environment.json": storage.to_json_bytes(environment()),
        }
        for split, confusion in record.get("confusion", {}).items():
            files[f"confusion-{split}.json"] = json.dumps(confusion).encode()
            files[f"confusion-{split}.png"] = draw_confusion(
                confusion["targets"], confusion["counts"]
            )
        importance = record.get("layer_importance")
        if importance:
            files["layer-importance.json"] = json.dumps(importance).encode()
            files["layer-importance.png"] = draw_layer_importance(importance)
        if metrics:
            mlflow_store.log_metrics(self._client, self.run_id, metrics, step=0)
        mlflow_store.log_files(self._client, self.run_id, files)
        mlflow_store.end_run(self._client, self.run_id)

    def fail(self) -> None:
        """End the run as failed."""
        mlflow_store.end_run(self._client, self.run_id, failed=True)


def environment() -> dict[str, object]:
    """Return what a training ran in."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "num_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_revision": git_revision(),
    }


def git_revision() -> str | None:
    """Return the commit of Serval's own files; None where they are not under version control."""
    git, own = shutil.which("git"), Path(__file__)
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        command = [git, "-C", str(own.parent), *words]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  fixed words
        return answer.stdout.strip() if answer.returncode == 0 else None

    # An environment may lie inside somebody else's repository, whose commit says nothing.
    if ask("ls-files", "--error-unmatch", own.name) is None:
        return None
    revision = ask("rev-parse", "HEAD")
    return f"{revision} with changes" if ask("status", "--porcelain", "-uno") else revision


def draw_confusion(targets: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Draw a confusion matrix as PNG: parts of each row, with the counts in the cells."""
    import numpy as np
    from matplotlib.figure import Figure

    counts_KK = np.array(counts)
    parts_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    side = 1.5 + 0.6 * len(targets)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(parts_KK, vmin=0.0, vmax=1.0, cmap="Blues")
    axes.set_xticks(range(len(targets)), targets, rotation=45, ha="right")
    axes.set_yticks(range(len(targets)), targets)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    for (row, column), count in np.ndenumerate(counts_KK):
        colour = "white" if parts_KK[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return _png(figure)


def draw_layer_importance(importance: Sequence[float]) -> bytes:
    """Draw the weights of a layer-weighted sum as PNG; 0 is what the first layer gets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 0.3 * len(importance), 3.0), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(importance)), importance, color="tab:blue")
    axes.axhline(1.0 / len(importance), color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(importance)))
    axes.set_xlabel("layer")
    axes.set_ylabel("weight")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return a nested mapping as one with dotted names.

    >>> flatten({"head": {"size": 2}, "seed": 0})
    {'head.size': 2, 'seed': 0}
    """
    flat: dict[str, object] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
