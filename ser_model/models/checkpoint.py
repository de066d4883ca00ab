"""Checkpoints: files to tensors by name, from a folder in the Hugging Face layout or the hub.

A folder has config.json, preprocessor_config.json and the weights: model.safetensors, or
pytorch_model.bin, of which only tensors are read (torch's `weights_only`); either may be in parts
with an index. Weights are float32 from here on, in whatever dtype they are stored. The folder of a
model that was trained here is a checkpoint too: its config.json has a `format`.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ser_model import storage
from ser_model.schema import ModelError

HUB_SCHEME = "hf:"
FORMAT = "serval"
"""What config.json of a model that was trained here says of its format."""

CONFIG_NAME = "config.json"
PREPROCESSOR_NAME = "preprocessor_config.json"
WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
MAX_JSON_BYTES = 1 << 24
MAX_WEIGHTS_BYTES = 1 << 34

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NEW_NAMES = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
    ".LayerNorm.gamma": ".LayerNorm.weight",
    ".LayerNorm.beta": ".LayerNorm.bias",
}
"""Ends of names as older files have them, and as the libraries call the same weights now: a weight
norm's two parts (torch before 2.0), and the norms of BERT's first release."""

# What torch raises of bytes that are no pickle depends on the bytes.
_UNREADABLE = (
    *(SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError),
    *(LookupError, ValueError, TypeError, AttributeError),
)

Find: TypeAlias = Callable[[str], str | None]
"""From the name of a file to where it can be read, None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a folder in the Hugging Face layout holds.

    Attributes:
        source: hub id or folder.
        revision: commit of the hub's repository; of a trained model the SHA-256 of its weights.
        config: of config.json.
        do_normalize: of preprocessor_config.json; None where there is none, or it does not say.
        weights: by name, a weight norm's under torch's present names.
    """

    source: str
    revision: str | None
    config: Mapping[str, Any]
    do_normalize: bool | None
    weights: Mapping[str, Tensor]


def read_checkpoint(source: str, revision: str | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: a folder (local or any URI), or ORG/NAME on the hub, `hf:` before it or not, with
            @REVISION behind it or not.
        revision: commit, branch or tag of the hub's repository; of a trained model the SHA-256 of
            its weights. None for whatever is there.

    Raises:
        ModelError: it cannot be found or read, or has not the weights of that SHA-256.
    """
    wanted = revision
    hub_id, find, revision = locate(source, revision)
    config = _read_json(find, CONFIG_NAME, source)
    if config is None:
        raise ModelError(f"{source} has no {CONFIG_NAME}")
    if config.get("format") == FORMAT:
        revision = _sha256(find, source)
        if wanted not in (None, revision):
            raise ModelError(f"the weights of {source} are not those of revision {wanted}")
    preprocessor = _read_json(find, PREPROCESSOR_NAME, source) or {}
    do_normalize = preprocessor.get("do_normalize")
    return Checkpoint(
        source=hub_id or source,
        revision=revision,
        config=config,
        do_normalize=do_normalize if isinstance(do_normalize, bool) else None,
        weights=_read_weights(find, source),
    )


def hub_revision(source: str) -> tuple[str, str]:
    """Return the hub id of `hf:ORG/NAME[@REVISION]` and the commit that the hub resolves it to.

    Raises:
        ModelError: there is no such repository, or it cannot be reached.
    """
    hub_id, _, revision = locate(source, None)
    if hub_id is None or revision is None:
        raise ModelError(f"{source!r} is not {HUB_SCHEME}ORG/NAME or {HUB_SCHEME}ORG/NAME@REVISION")
    return hub_id, revision


def fit(
    checkpoint: Checkpoint, expected: Mapping[str, Tensor], *, probe: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Choose the weights that a network needs.

    Args:
        checkpoint: has them, under their names or with a prefix (`wav2vec2.`, `model.encoder.`).
        expected: `state_dict` of the network.
        probe: a name of it that occurs once in any checkpoint; what stands before is the prefix.

    Returns:
        The weights as float32, and the sorted names of those that are left over.

    Raises:
        ModelError: any weight is missing or has another shape. (A network with one random weight
            still scores, and nobody would see it.)
    """
    prefixes = [name.removesuffix(probe) for name in checkpoint.weights if name.endswith(probe)]
    prefix = prefixes[0] if prefixes else ""
    found, problems = {}, []
    for name, tensor in expected.items():
        weight = checkpoint.weights.get(prefix + name)
        if weight is None:
            problems.append(f"{prefix}{name} is missing")
        elif weight.shape != tensor.shape:
            shapes = f"{list(weight.shape)}, not {list(tensor.shape)}"
            problems.append(f"{prefix}{name} has the shape {shapes}")
        else:
            found[name] = weight.float()
    if problems:
        shown = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
        raise ModelError(
            f"{checkpoint.source} does not have the weights of its architecture: {len(problems)} "
            f"differ: {shown}"
        )
    return found, sorted(set(checkpoint.weights) - {prefix + name for name in expected})


def locate(source: str, revision: str | None) -> tuple[str | None, Find, str | None]:
    """Find a checkpoint.

    Returns:
        The hub id (None for a folder), how to find its files, and the hub's commit.

    Raises:
        ModelError: it is no folder with config.json, or the hub has none of that name.
    """
    if not source.startswith(HUB_SCHEME) and storage.exists(storage.join(source, CONFIG_NAME)):
        return None, lambda name: _in_folder(source, name), None
    hub_id, _, named = source.removeprefix(HUB_SCHEME).partition("@")
    if not _HUB_ID.fullmatch(hub_id):
        raise ModelError(
            f"{source!r} is neither a folder with {CONFIG_NAME} nor ORG/NAME of the Hugging Face "
            "hub"
        )
    revision = _resolve(hub_id, named or revision)
    return hub_id, lambda name: _on_hub(hub_id, name, revision), revision


def read_small(uri: str, name: str, source: str) -> bytes:
    """Read a file that is not for weights.

    Args:
        uri: where it can be read.
        name: of the file, for the message.
        source: of the checkpoint, likewise.

    Raises:
        ModelError: it cannot be read, or is larger than MAX_JSON_BYTES.
    """
    try:
        return storage.read_bytes(uri, max_bytes=MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} of {source} cannot be read: {error}") from error


def _in_folder(folder: str, name: str) -> str | None:
    uri = storage.join(folder, name)
    return uri if storage.exists(uri) else None


def _resolve(hub_id: str, revision: str | None) -> str:
    """Return the commit that a revision means; a cache that the hub's client has made will do."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        path = hf_hub_download(hub_id, CONFIG_NAME, revision=revision)
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        at = "" if revision is None else f" at {revision}"
        raise ModelError(
            f"{hub_id}{at} cannot be read from the Hugging Face hub ({reason}); without a "
            "connection, give a folder with its files"
        ) from error
    return Path(path).parent.name  # the client's cache is .../snapshots/COMMIT/config.json


def _on_hub(hub_id: str, name: str, revision: str) -> str | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        return str(hf_hub_download(hub_id, name, revision=revision))
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"{hub_id}/{name} cannot be read from the hub: {error}") from error


def _read_json(find: Find, name: str, source: str) -> dict[str, Any] | None:
    uri = find(name)
    if uri is None:
        return None
    try:
        mapping = json.loads(read_small(uri, name, source))
    except ValueError as error:
        raise ModelError(f"{name} of {source} cannot be read: {error}") from error
    if not isinstance(mapping, dict):
        raise ModelError(f"{name} of {source} must hold a mapping")
    return mapping


def _read_weights(find: Find, source: str) -> dict[str, Tensor]:
    for name in WEIGHTS_NAMES:
        uri = find(name)
        if uri is not None:
            return _renamed(_read_part(uri))
        index = _read_json(find, f"{name}.index.json", source)
        if index is not None:
            return _renamed(_read_parts(find, index, source))
    raise ModelError(f"{source} has no weights: neither {' nor '.join(WEIGHTS_NAMES)}")


def _sha256(find: Find, source: str) -> str:
    """Return the SHA-256 of the weights' file."""
    uri = find(WEIGHTS_NAMES[0])
    if uri is None:
        raise ModelError(f"{source} has no {WEIGHTS_NAMES[0]}")
    return hashlib.sha256(storage.read_bytes(uri, max_bytes=MAX_WEIGHTS_BYTES)).hexdigest()


def _read_parts(find: Find, index: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    names = index.get("weight_map")
    if not isinstance(names, dict):
        raise ModelError(f"the index of the weights of {source} has no weight_map")
    weights: dict[str, Tensor] = {}
    for name in sorted(set(map(str, names.values()))):
        uri = None if "/" in name else find(name)
        if uri is None:
            raise ModelError(f"{source} has no {name!r}, which the index of its weights names")
        weights |= _read_part(uri)
    return weights


def _read_part(uri: str) -> dict[str, Tensor]:
    path = storage.local_path(uri)
    try:
        if uri.endswith(".safetensors"):
            if path is not None:
                return safetensors.torch.load_file(path)
            return safetensors.torch.load(storage.read_bytes(uri, max_bytes=MAX_WEIGHTS_BYTES))
        file = path or io.BytesIO(storage.read_bytes(uri, max_bytes=MAX_WEIGHTS_BYTES))
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{uri} holds no weights that can be read: {reason}") from error
    if not isinstance(weights, dict):
        raise ModelError(f"{uri} holds no weights by name")
    return {str(name): weight for name, weight in weights.items() if isinstance(weight, Tensor)}


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, weight in weights.items():
        for old, new in _NEW_NAMES.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        renamed[name] = weight
    return renamed
