"""What `--devices`, `--workers` and `--dtype` come to on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from ser_model.predict import DTYPES
from ser_model.schema import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What scoring runs on.

    Attributes:
        device: "cpu" or "cuda".
        dtype: what the arithmetic runs in.
        num_workers: Ray actors; 0 means scoring in this process.
    """

    device: str
    dtype: str
    num_workers: int


def choose_hardware(devices: str, num_workers: int | None, dtype: str, *, local: bool) -> Hardware:
    """Resolve the options; see `scoring.score`.

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
    if num_workers is not None and num_workers < 1:
        raise ConfigError(f"--workers {num_workers}: at least one is needed")
    device = "cuda" if devices != "cpu" and has_cuda else "cpu"
    default = {"cuda": "bfloat16", "cpu": "float32"}[device]
    num_devices = torch.cuda.device_count() if device == "cuda" else len(os.sched_getaffinity(0))
    return Hardware(
        device=device,
        dtype=default if dtype == "auto" else dtype,
        num_workers=0 if local else num_workers or num_devices,
    )
