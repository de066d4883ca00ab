"""What `--devices`, `--workers` and `--dtype` come to on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Self

import torch

from ser_model.batch_runner import DTYPES
from ser_model.schema import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRange:
    """How many Ray actors score.

    Attributes:
        minimum: scoring begins when so many are up.
        maximum: so many are asked for; where it is more than `minimum`, the cluster may have to
            grow first, and may shrink again.
    """

    minimum: int
    maximum: int

    @classmethod
    def parse(cls, option: int | str) -> Self:
        """Read what `--workers` was given: N, or MINIMUM:MAXIMUM.

        >>> WorkerRange.parse("2:8")
        WorkerRange(minimum=2, maximum=8)
        >>> WorkerRange.parse("4") == WorkerRange.parse(4)
        True

        Raises:
            ConfigError: it is neither.
        """
        match = re.fullmatch("([0-9]+)(?::([0-9]+))?", str(option))
        if match is None:
            raise ConfigError(f"--workers {option!r} is neither a number nor MINIMUM:MAXIMUM")
        minimum = int(match[1])
        maximum = int(match[2] or minimum)
        if not 1 <= minimum <= maximum:
            raise ConfigError(f"--workers {option}: at least one, and no more than the maximum")
        return cls(minimum=minimum, maximum=maximum)

    def at_most(self, number: int) -> WorkerRange:
        """Return the range with neither end above `number`."""
        return WorkerRange(minimum=min(self.minimum, number), maximum=min(self.maximum, number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What scoring runs on.

    Attributes:
        device: "cpu" or "cuda".
        dtype: what the arithmetic runs in.
        workers: Ray actors; None means scoring in this process.
        num_decoders: parts of a shard that other CPUs read for a worker at a time; 0 means that it
            reads its shards itself.
    """

    device: str
    dtype: str
    workers: WorkerRange | None
    num_decoders: int = 0

    @property
    def num_workers(self) -> int:
        """Ray actors at most; 0 means scoring in this process."""
        return 0 if self.workers is None else self.workers.maximum


def choose_hardware(
    devices: str,
    workers: int | str | None,
    dtype: str,
    *,
    local: bool,
    num_decoders: int = 0,
    float32_only: bool = False,
) -> Hardware:
    """Resolve the options; see `scoring.score`.

    Args:
        devices: as there.
        workers: as there.
        dtype: as there.
        local: as there.
        num_decoders: as there.
        float32_only: whether the model, an ONNX file, has no other arithmetic.

    Raises:
        ConfigError: an option has a value that is not allowed, or that this machine cannot meet.
    """
    has_cuda = torch.cuda.is_available()
    if devices not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--devices {devices!r} is none of auto, cpu, cuda")
    if devices == "cuda" and not has_cuda:
        raise ConfigError("--devices cuda: this machine has no GPU that torch can use")
    if dtype not in ("auto", *DTYPES):
        raise ConfigError(f"--dtype {dtype!r} is none of auto, {', '.join(DTYPES)}")
    if float32_only and dtype not in ("auto", "float32"):
        raise ConfigError(f"--dtype {dtype}: ONNX files are scored in float32 alone")
    if num_decoders < 0:
        raise ConfigError(f"--decoders {num_decoders} is negative")
    if num_decoders and local:
        raise ConfigError("--decoders needs Ray: leave --local out")
    device = "cuda" if devices != "cpu" and has_cuda else "cpu"
    default = "bfloat16" if device == "cuda" and not float32_only else "float32"
    num_devices = torch.cuda.device_count() if device == "cuda" else len(os.sched_getaffinity(0))
    worker_range = WorkerRange.parse(num_devices if workers is None else workers)
    return Hardware(
        device=device,
        dtype=default if dtype == "auto" else dtype,
        workers=None if local else worker_range,
        num_decoders=num_decoders,
    )
