"""Clips are Ogg Opus that others read, and the same bytes each time."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from orchestration.report.opus import COMPRESSION_LEVEL, _with_serial, encode_opus
from ser_model.audio import SAMPLING_RATE_HZ


@pytest.fixture
def tone():
    time_s = np.arange(2 * SAMPLING_RATE_HZ) / SAMPLING_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def test_a_clip_sounds_as_the_waveform(tone):
    decoded, rate = sf.read(io.BytesIO(encode_opus(tone)))
    assert rate == SAMPLING_RATE_HZ
    assert len(decoded) == len(tone)
    assert np.corrcoef(decoded[800:-800], tone[800:-800])[0, 1] > 0.99


def test_checksums_are_those_that_libsndfile_writes(tone):
    """With its own serial number a stream comes back bit for bit, so the checksums are right."""
    buffer = io.BytesIO()
    options = {"format": "OGG", "subtype": "OPUS", "compression_level": COMPRESSION_LEVEL}
    sf.write(buffer, tone, SAMPLING_RATE_HZ, **options)
    data = buffer.getvalue()
    (serial,) = struct.unpack_from("<I", data, 14)
    assert _with_serial(data, serial) == data
    assert _with_serial(data, serial ^ 1) != data


def test_the_same_waveform_gives_the_same_bytes(tone):
    assert encode_opus(tone) == encode_opus(tone)


def test_ten_seconds_of_noise_take_some_twenty_kilobytes():
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * SAMPLING_RATE_HZ).astype(np.float32)
    assert len(encode_opus(noise)) < 24_000
