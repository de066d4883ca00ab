"""What a training runs on, in words: a time says nothing without it."""

from __future__ import annotations

import platform

import torch


def machine_name(device: str, num_workers: int) -> str:
    """Return what computes: "2 x NVIDIA H200", "x86_64 CPU with 4 threads".

    Args:
        device: "cpu" or "cuda".
        num_workers: processes that train together, each with a device of its own.
    """
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        num_threads = torch.get_num_threads()
        name = f"{platform.machine()} CPU with {num_threads} thread{'s' * (num_threads > 1)}"
    return name if num_workers == 1 else f"{num_workers} x {name}"
