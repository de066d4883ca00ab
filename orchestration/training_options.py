"""What is asked of a training, and how the same training is known again.

A finished training is known by what was asked of it (`identity_of`). To go on with one that was
killed asks for more: other code, another device or another number of threads would lead to other
weights half-way (`identity_to_resume`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from typing import Any

import torch

from orchestration.transcripts import transcripts_sha256
from ser_model import storage
from ser_model.manifest_checks import TruthRange
from ser_model.splits import Fold
from ser_model.training.checkpoint import to_json
from ser_model.training.recipe import AnyRecipe, to_mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What a training is made of, and where it goes.

    Attributes:
        recipe_name: one of `list_recipes()`.
        recipe: resolved.
        overrides: "key=value", as given.
        manifest_uri: with truth, `speaker_id` and perhaps `split`.
        truth_range: scale of the dimensions in the manifest.
        output: folder of the model, a path or a URI.
        name: registered model; None for nothing in MLflow.
        device: "cpu" or "cuda".
        num_workers: processes that train together.
        transcripts_uri: run or table whose transcripts stand in for the manifest's; None for those.
        register: whether the model becomes a version of `name`.
        parent_run: MLflow run of the series that this training is of.
        fold: of a cross-validation.
    """

    recipe_name: str
    recipe: AnyRecipe
    overrides: tuple[str, ...]
    manifest_uri: str
    truth_range: TruthRange
    output: str
    name: str | None
    device: str
    num_workers: int
    transcripts_uri: str | None = None
    register: bool = True
    parent_run: str | None = None
    fold: Fold | None = None


def identity_of(options: TrainOptions) -> dict[str, Any]:
    """Return all that decides the weights, as far as it can be known without reading audio.

    A finished training of the same identity is not repeated.

    Raises:
        InputError: the transcripts from elsewhere cannot be used.
    """
    try:
        manifest_sha256 = hashlib.sha256(storage.read_bytes(options.manifest_uri)).hexdigest()
    except OSError:
        manifest_sha256 = ""  # `read_manifest` says what is wrong with it
    held_out = {} if options.fold is None else {"held_out": list(options.fold.held_out)}
    transcripts = {}
    if options.transcripts_uri is not None:
        transcripts["transcripts_sha256"] = transcripts_sha256(options.transcripts_uri)
    return {
        "recipe_name": options.recipe_name,
        "recipe": to_json(to_mapping(options.recipe)),
        "manifest_sha256": manifest_sha256,
        "truth_range": list(options.truth_range),
        **held_out,
        **transcripts,
    }


def identity_to_resume(
    options: TrainOptions, identity: Mapping[str, Any], audio_sha256: str
) -> dict[str, Any]:
    """Return all that must be the same for a killed training to go on to the same weights.

    Args:
        options: what is asked of it.
        identity: of the training.
        audio_sha256: of all waveforms that it reads.
    """
    return {
        **identity,
        "audio_sha256": audio_sha256,
        "code_sha256": code_sha256(),
        "torch_version": version("torch"),
        "device": options.device,
        "num_workers": options.num_workers,
        "num_threads": torch.get_num_threads(),
    }


def code_sha256() -> str:
    """Return the SHA-256 of the source of `ser_model`: what decides how a training goes on."""
    digest = hashlib.sha256()
    with resources.as_file(resources.files("ser_model")) as folder:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
