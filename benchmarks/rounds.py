"""Ways that take turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from scoring_rivals import Waveforms

from ser_model.models.logmel import SAMPLING_RATE_HZ


class Rounds:
    """Takes the ways' turns.

    Attributes:
        best: each way's best audio seconds per second; of matrix products, GFLOP/s.
    """

    def __init__(self, device: str, seconds: float) -> None:
        """Measure on a device; a turn takes `seconds` or one batch, whichever is longer."""
        self._device = device
        self._seconds = seconds
        self.best: dict[str, float] = {}

    def take_turn(self, name: str, score: Callable[[Waveforms], object], batch: Waveforms) -> None:
        """Score a batch again and again until the turn's seconds are over; the best time counts."""
        num_samples = sum(len(waveform) for waveform in batch)
        self._repeat(name, lambda: score(batch), num_samples / SAMPLING_RATE_HZ, self._seconds)

    def take_product_turn(self, name: str, dtype: torch.dtype) -> None:
        """Time square matrix products; the best is the ceiling, in GFLOP/s."""
        size = 8192 if self._device.startswith("cuda") else 2048
        left, right, out = (
            torch.randn(size, size, device=self._device).to(dtype) for _ in range(3)
        )
        gflop = 2.0 * size**3 / 1e9
        self._repeat(name, lambda: torch.mm(left, right, out=out), gflop, self._seconds / 4)

    def _repeat(self, name: str, do: Callable[[], object], amount: float, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while True:
            begin = time.perf_counter()
            do()
            self._synchronise()
            took_s = time.perf_counter() - begin
            self.best[name] = max(self.best.get(name, 0.0), amount / took_s)
            if time.perf_counter() > end:
                return

    def _synchronise(self) -> None:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
