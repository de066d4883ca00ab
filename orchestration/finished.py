"""Outputs that are there already: found by their last file, known by the hash of their inputs."""

from __future__ import annotations

from typing import Any

from ser_model import storage
from ser_model.schema import RunError


def find_finished(uri: str, inputs_sha256: str, *, of_others: str) -> dict[str, Any] | None:
    """Return the JSON file that is written last into an output; None where it is not there.

    Args:
        uri: the file; it has `inputs_sha256`.
        inputs_sha256: of all that the wanted output depends on.
        of_others: what the folder holds otherwise, "an audit of other runs".

    Raises:
        RunError: the file is damaged, or was made of other inputs.
    """
    try:
        found = storage.read_json(uri)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{uri} is damaged: {error}; choose another --output") from error
    if found.get("inputs_sha256") != inputs_sha256:
        folder = uri.removesuffix(f"/{storage.name(uri)}")
        raise RunError(f"{folder} holds {of_others}; choose another --output")
    return found
