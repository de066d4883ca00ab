"""Ways that take turns, each beside the machine's ceiling of the same minute.

A machine that others use too, or that changes its clock, is fast in one moment and slow in the
next; the best of many short products and the best of a few long batches are not of one moment. So
every turn of a way lies between two turns of matrix products, all count with their average over the
turn, and what is reported of several rounds is the median.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a way.

    Attributes:
        audio_s_per_s: audio seconds per second.
        ceiling_gflops: of the matrix products just before and after it, in GFLOP/s.
    """

    audio_s_per_s: float
    ceiling_gflops: float


class Rounds:
    """Takes the ways' turns."""

    def __init__(self, device: str, seconds: float) -> None:
        """Measure on a device; a turn takes `seconds` or one batch, whichever is longer."""
        self._device = device
        self._seconds = seconds
        self._size = 8192 if device.startswith("cuda") else 2048
        self._turns: dict[str, list[Turn]] = defaultdict(list)

    def __contains__(self, name: str) -> bool:
        """Tell whether a way had a turn."""
        return name in self._turns

    def take_turn(
        self, name: str, dtype: torch.dtype, audio_s: float, score: Callable[[], object]
    ) -> None:
        """Score again and again until the turn's seconds are over; the first time is to warm up."""
        if name not in self:
            score()

        def measure() -> float:
            return self._per_second(score, audio_s, self._seconds)

        self.take_job(name, dtype, measure)

    def take_job(self, name: str, dtype: torch.dtype, measure: Callable[[], float]) -> None:
        """Take a turn that tells its own audio seconds per second."""
        before = self._products(dtype)
        audio_s_per_s = measure()
        ceiling = (before + self._products(dtype)) / 2
        turn = Turn(audio_s_per_s=audio_s_per_s, ceiling_gflops=ceiling)
        self._turns[name].append(turn)

    def audio_s_per_s(self, name: str) -> float:
        """Return the median of a way's turns."""
        return statistics.median(turn.audio_s_per_s for turn in self._turns[name])

    def ceiling_gflops(self, name: str) -> float:
        """Return the median of the products beside a way's turns."""
        return statistics.median(turn.ceiling_gflops for turn in self._turns[name])

    def part_of_ceiling(self, name: str, gflop_per_audio_s: float) -> float:
        """Return the median over the turns of what a way makes of its own turn's ceiling."""
        return statistics.median(
            turn.audio_s_per_s * gflop_per_audio_s / turn.ceiling_gflops
            for turn in self._turns[name]
        )

    def _products(self, dtype: torch.dtype) -> float:
        """Return the speed of square matrix products, in GFLOP/s."""
        size = self._size
        left, right, out = (
            torch.randn(size, size, device=self._device).to(dtype) for _ in range(3)
        )
        torch.mm(left, right, out=out)

        def multiply() -> None:
            torch.mm(left, right, out=out)

        return self._per_second(multiply, 2.0 * size**3 / 1e9, self._seconds / 4)

    def _per_second(self, do: Callable[[], object], amount: float, seconds: float) -> float:
        self._synchronise()
        begin, num_done = time.perf_counter(), 0
        while num_done == 0 or time.perf_counter() - begin < seconds:
            do()
            num_done += 1
            if num_done % 10 == 0:
                self._synchronise()  # or a GPU's queue runs ahead of the clock
        self._synchronise()
        return amount * num_done / (time.perf_counter() - begin)

    def _synchronise(self) -> None:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
