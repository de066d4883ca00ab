"""Files beside a checkpoint's weights (tokenisers and the like), and a hash of all together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ser_model.models.checkpoint import Checkpoint, locate, read_small


@contextmanager
def local_files(
    checkpoint: Checkpoint, names: Sequence[str]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Copy small files of a checkpoint into a local folder, for libraries that read nothing else.

    Yields:
        The folder, which is gone behind the `with`, and what is in it by name: those of `names`
        that the checkpoint has.

    Raises:
        ModelError: a file is there and cannot be read.
    """
    _, find, _ = locate(checkpoint.source, checkpoint.revision)
    files = {}
    for name in names:
        uri = find(name)
        if uri is not None:
            files[name] = read_small(uri, name, checkpoint.source)
    with TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        yield folder, files


def fingerprint(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> str:
    """Return a SHA-256 of the configuration, the weights and some files of a checkpoint.

    It is of what they say, not of how they are stored: safetensors or not, in parts or in one.
    """
    digest = hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode())
    digest.update(f"{checkpoint.do_normalize}".encode())
    for name, data in sorted(files.items()):
        digest.update(f"\n{name} {hashlib.sha256(data).hexdigest()}".encode())
    for name, tensor in sorted(checkpoint.weights.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
