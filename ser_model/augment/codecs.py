"""Lossy codecs: a segment is encoded and decoded again, with the codec's delay taken back.

MP3 by libsndfile and Opus by FFmpeg at 16 kHz (libsndfile has Opus too, and its build takes three
times as long); AAC by FFmpeg at 32 kHz, because at 16 kHz one channel of AAC holds 96 kbit/s at
most. Podcasts are mostly coded at 44.1 kHz, where the bits are shared with what
lies above the segment's 8 kHz: at the same bit rate theirs sound a little worse.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile as sf
import soxr

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.ffmpeg import encode_and_decode

AAC_RATE_HZ = 32_000

MP3_DELAY_SAMPLES = 576 + 529
"""Of LAME's encoder and any decoder. At low bit rates a frame has no room for the tag in which LAME
says so, and the decoder then leaves it in."""

OPUS_DECODED_HZ = 48_000
"""Whatever the rate of what went in."""

# libsndfile takes a level of 0 to 1, not bits; it spans these at 16 kHz and one channel
# (mpeg_l3_encode.c).
_MP3_KBPS = (8.0, 160.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Encodes and decodes at a bit rate."""

    name: Literal["mp3", "aac", "opus"]
    kbps: int

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:  # noqa: ARG002
        """Return [num_samples], in time with what went in."""
        coded = {"mp3": _mp3, "aac": _aac, "opus": _opus}[self.name](waveform, self.kbps)
        return fit_length(coded, len(waveform))


def fit_length(waveform: Waveform, num_samples: int) -> Waveform:
    """Return the first [num_samples], with zeros where there are fewer.

    >>> fit_length(np.ones(2, np.float32), 3).tolist()
    [1.0, 1.0, 0.0]
    """
    return np.pad(waveform[:num_samples], (0, max(num_samples - len(waveform), 0)))


def _mp3(waveform: Waveform, kbps: int) -> Waveform:
    low, high = _MP3_KBPS
    buffer = io.BytesIO()
    sf.write(
        buffer,
        waveform,
        SAMPLING_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=(high - kbps) / (high - low),
    )
    buffer.seek(0)
    coded: Waveform = sf.read(buffer, dtype="float32")[0]
    return coded[MP3_DELAY_SAMPLES:] if len(coded) > len(waveform) else coded


def _opus(waveform: Waveform, kbps: int) -> Waveform:
    coded = encode_and_decode(
        waveform, SAMPLING_RATE_HZ, codec="libopus", container="ogg", bits_per_s=kbps * 1000
    )
    return _resample(coded, OPUS_DECODED_HZ, SAMPLING_RATE_HZ)


def _aac(waveform: Waveform, kbps: int) -> Waveform:
    wide = _resample(waveform, SAMPLING_RATE_HZ, AAC_RATE_HZ)
    coded = encode_and_decode(
        wide, AAC_RATE_HZ, codec="aac", container="ipod", bits_per_s=kbps * 1000
    )
    return _resample(coded, AAC_RATE_HZ, SAMPLING_RATE_HZ)


def _resample(waveform: Waveform, from_hz: int, to_hz: int) -> Waveform:
    resampled: Waveform = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    return resampled
