"""FFmpeg's filters and codecs on one waveform, by way of PyAV, whose wheels bring FFmpeg along.

Every call makes its own filter graph or codec: nothing is carried from one segment to the next.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_model.audio import SAMPLING_RATE_HZ, Waveform


def run_filter(waveform: Waveform, name: str, arguments: str) -> Waveform:
    """Send [num_samples] at 16 kHz through one filter; what comes out may have another length."""
    from av import AudioFrame
    from av.error import BlockingIOError as NothingYetError
    from av.error import EOFError as EndError
    from av.filter import Graph

    time_base = Fraction(1, SAMPLING_RATE_HZ)
    graph = Graph()
    source = graph.add_abuffer(
        format="flt", sample_rate=SAMPLING_RATE_HZ, layout="mono", time_base=time_base
    )
    sink = graph.add("abuffersink")
    filter_node = graph.add(name, arguments)
    source.link_to(filter_node)
    filter_node.link_to(sink)
    graph.configure()
    frame = AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = SAMPLING_RATE_HZ, time_base, 0
    source.push(frame)
    source.push(None)
    pieces: list[Waveform] = []
    while True:
        try:
            frame_out: Any = sink.pull()
        except (NothingYetError, EndError):
            return _joined(pieces)
        pieces.append(_to_float(frame_out.to_ndarray().reshape(-1)))


def encode_and_decode(
    waveform: Waveform, rate_hz: int, *, codec: str, container: str, bits_per_s: int
) -> Waveform:
    """Send [num_samples] at `rate_hz` through an encoder and its decoder.

    What comes out has the decoder's rate.
    """
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = bits_per_s
        # One thread: how frames are split among threads must not matter.
        stream.codec_context.thread_count = 1
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=rate_hz
        )
        for converted in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(converted):
                out.mux(packet)
    buffer.seek(0)
    with av.open(buffer, "r") as coded:
        frames: Sequence[Any] = list(coded.decode(audio=0))
    return _joined([_to_float(frame.to_ndarray().reshape(-1)) for frame in frames])


def _to_float(samples: npt.NDArray[np.int16 | np.float64 | np.float32]) -> Waveform:
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    return samples.astype(np.float32)


def _joined(pieces: list[Waveform]) -> Waveform:
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)
