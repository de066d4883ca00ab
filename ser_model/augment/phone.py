"""A phone of low quality, as audEERING's ser-tests describe theirs (arXiv 2312.06270).

Compressor, AMR narrow band at 8 kHz, peak normalisation, high-passed pink noise, and the power
that the segment had. Two things they leave open are read so: a ratio of .8 lets a level above the
threshold rise by .8 dB for each dB (1.25:1), and the gain of the pink noise is its level before
the high-pass, in dB of full scale.
"""

from __future__ import annotations

import numpy as np
import soxr

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.codecs import fit_length
from ser_model.augment.ffmpeg import encode_and_decode, run_filter
from ser_model.augment.filters import butterworth, pink_noise
from ser_model.augment.level import restore_power, speech_power

COMPRESSOR = "threshold=-20dB:ratio=1.25:attack=10:release=20:makeup=1"
AMR_RATE_HZ = 8_000
AMR_BITS_PER_S = 7_400
AMR_DELAY_SAMPLES = 40
"""The encoder looks 5 ms ahead (3GPP TS 26.090), and the decoder does not take it back."""

NOISE_DB = -25.0
NOISE_FROM_HZ = 3_000.0


def low_quality_phone(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Return [num_samples] as they come out of the phone.

    Raises:
        SegmentError: the segment is silent: its peak cannot be normalised.
    """
    speech_power(waveform)
    num_samples = len(waveform)
    compressed = fit_length(run_filter(waveform, "acompressor", COMPRESSOR), num_samples)
    heard = _amr(compressed)
    peak = float(np.abs(heard).max())
    if peak > 0:
        heard = heard / np.float32(peak)
    noise = pink_noise(num_samples, rng) * np.float32(10 ** (NOISE_DB / 20))
    hiss = butterworth(noise, "highpass", cutoff_hz=NOISE_FROM_HZ, order=2)
    return restore_power(heard + hiss, waveform)


def _amr(waveform: Waveform) -> Waveform:
    narrow = soxr.resample(waveform, SAMPLING_RATE_HZ, AMR_RATE_HZ, quality="HQ")
    # Silence behind the end, or the delay would cut the end off.
    padded = np.pad(narrow, (0, AMR_DELAY_SAMPLES))
    coded = encode_and_decode(
        padded,
        AMR_RATE_HZ,
        codec="libopencore_amrnb",
        container="amr",
        bits_per_s=AMR_BITS_PER_S,
    )
    wide = soxr.resample(coded[AMR_DELAY_SAMPLES:], AMR_RATE_HZ, SAMPLING_RATE_HZ, quality="HQ")
    return fit_length(wide, len(waveform))
