"""Segments as training sees them, in memory or, where they are many, in a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MAX_MEMORY_BYTES = 2 << 30
"""Inputs beyond it go to disk: 2 GiB are 9 hours of waveforms, or 23 of log-mel bands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInputs:
    """Inputs in a file of float32 numbers; they are read when they are needed.

    Attributes:
        path: the file.
        offset: where they begin, in numbers.
        shape: [T, ...].
    """

    path: str
    offset: int
    shape: tuple[int, ...]

    def read(self) -> Tensor:
        """Read the inputs."""
        count = math.prod(self.shape)
        numbers = np.fromfile(self.path, np.float32, count, offset=4 * self.offset)
        return torch.from_numpy(numbers.reshape(self.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A segment as training sees it.

    Attributes:
        segment_id: the segment.
        duration_s: its length.
        inputs: what `EmotionModel.prepare` made of its waveform, [T, ...].
        truth: [D] the dimensions, 0 to 1; or the index of the emotion, [].
        transcript: what is said; None where that is not known or nobody asks.
    """

    segment_id: str
    duration_s: float
    inputs: Tensor | StoredInputs
    truth: Tensor
    transcript: str | None = None

    @property
    def num_inputs(self) -> int:
        """T: frames or samples."""
        return int(self.inputs.shape[0])

    @property
    def length(self) -> tuple[int, int]:
        """What examples are sorted by, so that those of a batch are alike: inputs, characters."""
        return self.num_inputs, len(self.transcript or "")

    def read(self) -> Tensor:
        """Return the inputs, from wherever they are."""
        return self.inputs.read() if isinstance(self.inputs, StoredInputs) else self.inputs


class InputStore:
    """Keeps inputs in memory while they are few, and the further ones in a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = InputStore(Path(folder, "inputs.f32"), max_memory_bytes=8)
        ...     kept = [store.keep(torch.full((2,), float(i))) for i in range(2)]
        ...     [isinstance(inputs, Tensor) for inputs in kept], kept[1].read().tolist()
        ([True, False], [1.0, 1.0])
    """

    def __init__(self, path: Path, *, max_memory_bytes: int = MAX_MEMORY_BYTES) -> None:
        """Make no file before one is needed; one of an earlier attempt is overwritten."""
        self._path = path
        self._free_bytes = max_memory_bytes
        self._num_stored = 0
        path.unlink(missing_ok=True)

    def keep(self, inputs: Tensor) -> Tensor | StoredInputs:
        """Keep the inputs of a segment."""
        if inputs.nbytes <= self._free_bytes:
            self._free_bytes -= inputs.nbytes
            return inputs
        self._path.parent.mkdir(parents=True, exist_ok=True)
        stored = StoredInputs(
            path=str(self._path.absolute()), offset=self._num_stored, shape=tuple(inputs.shape)
        )
        with self._path.open("ab") as file:
            file.write(inputs.contiguous().float().numpy().tobytes())
        self._num_stored += inputs.numel()
        return stored

    def delete(self) -> None:
        """Delete the file: what it held cannot be read any more."""
        self._path.unlink(missing_ok=True)


def transcripts_of(examples: Sequence[Example]) -> list[str]:
    """Return the transcripts of all examples; one that is missing is empty."""
    return [example.transcript or "" for example in examples]


def truth_of(examples: Sequence[Example]) -> Tensor:
    """Return the truth of all examples, truth_BD or truth_B."""
    return torch.stack([example.truth for example in examples])
