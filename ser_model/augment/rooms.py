"""Simulated rooms and positions, by the image-source method (pyroomacoustics, Scheibler 2018).

ser-tests use measured impulse responses (MARDY for positions, AIR for rooms), which are not for
every use; these are rooms of such sizes and reverberation times, empty and box-shaped.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import signal

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.level import restore_power

HEIGHT_M = 1.3
"""Of speaker and microphone, in metres: both sit, or stand in a booth."""

_SIMULATING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A speaker and a microphone in a room; the power of the segment stays.

    Attributes:
        size_m: length, width and height in metres.
        rt60_s: reverberation time in seconds for which Sabine's formula gives the absorption of
            the walls. In a low and wide room sound dies away more slowly than by the formula.
        distance_m: of the microphone from the speaker.
    """

    size_m: tuple[float, float, float]
    rt60_s: float
    distance_m: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:  # noqa: ARG002
        """Return [num_samples], in time with the segment; the reverberation behind it is cut."""
        response = impulse_response(self)
        heard = signal.oaconvolve(waveform.astype(np.float64), response)[: len(waveform)]
        return restore_power(heard.astype(np.float32), waveform)


@cache
def impulse_response(room: Room) -> npt.NDArray[np.float64]:
    """Return how the room answers an impulse at 16 kHz, from the direct sound on."""
    import pyroomacoustics

    constants = pyroomacoustics.constants
    # Its threads add up in parts, one a thread: another number of them gives other last bits. The
    # number is one for the whole process.
    with _SIMULATING:
        num_threads = constants.get("num_threads")
        constants.set("num_threads", 1)
        try:
            response = _simulate(room)
        finally:
            constants.set("num_threads", num_threads)
    return response[int(np.argmax(np.abs(response))) :]


def _simulate(room: Room) -> npt.NDArray[np.float64]:
    import pyroomacoustics

    absorption, order = pyroomacoustics.inverse_sabine(room.rt60_s, list(room.size_m))
    box = pyroomacoustics.ShoeBox(
        list(room.size_m),
        fs=SAMPLING_RATE_HZ,
        materials=pyroomacoustics.Material(absorption),
        max_order=order,
    )
    # Off the middle, where the walls' echoes would fall together.
    length_m, width_m, _ = room.size_m
    x_m, y_m = 0.4 * (length_m - room.distance_m), 0.45 * width_m
    box.add_source([x_m, y_m, HEIGHT_M])
    box.add_microphone([x_m + room.distance_m, y_m, HEIGHT_M])
    box.compute_rir()
    return np.asarray(box.rir[0][0], np.float64)
