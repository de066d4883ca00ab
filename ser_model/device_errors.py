"""What the errors of a device mean: too little memory, or no device any more."""

from __future__ import annotations

import torch

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "_alloc_failed")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception means that memory did not suffice.

    CUDA raises torch.OutOfMemoryError; torch's allocator for CPUs and CUDA's libraries only say it
    in words.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return any(sign in words for sign in _OUT_OF_MEMORY)


def is_device_lost(error: Exception) -> bool:
    """Tell whether an exception means that the device takes no more work, whatever the audio.

    After an illegal access or a fallen bus, every later call of a process fails the same.

    >>> is_device_lost(RuntimeError("CUDA error: an illegal memory access was encountered"))
    True
    """
    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
