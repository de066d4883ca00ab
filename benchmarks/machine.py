"""Where and with what a measurement ran: part of every result."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch


def machine(device: str) -> dict[str, object]:
    """Say where and with what the measurement ran."""
    cpu = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [
            line for line in cpu_info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu,
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
    }


def multiplies_bfloat16(device: str) -> bool:
    """Tell whether the device has instructions for bfloat16 products."""
    if device.startswith("cuda"):
        return True
    cpu_info = Path("/proc/cpuinfo")
    return cpu_info.exists() and "_bf16" in cpu_info.read_text()
