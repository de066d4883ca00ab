"""Short clips of speech as Ogg Opus (RFC 7845), the same bytes each time."""

from __future__ import annotations

import io
import struct

import soundfile as sf

from ser_model.audio import SAMPLING_RATE_HZ, Waveform

COMPRESSION_LEVEL = 0.96
"""About 16 kbit/s, the middle of what RFC 6716, section 2.1.1, calls the sweet spot of wideband
speech; 20 kB for 10 s."""

_CRC_POLYNOMIAL = 0x04C11DB7  # RFC 3533, section 6
_HEADER_BYTES = 27
_SERIAL_AT, _CRC_AT, _NUM_PARTS_AT = 14, 22, 26


def encode_opus(waveform: Waveform) -> bytes:
    """Encode speech.

    Args:
        waveform: [num_samples] at 16 kHz; samples beyond -1..1 are clipped.

    Example:
        >>> import numpy as np
        >>> clip = encode_opus(np.zeros(16_000, np.float32))
        >>> clip[:4], clip == encode_opus(np.zeros(16_000, np.float32))
        (b'OggS', True)
    """
    buffer = io.BytesIO()
    sf.write(
        buffer,
        waveform.clip(-1.0, 1.0),
        SAMPLING_RATE_HZ,
        format="OGG",
        subtype="OPUS",
        compression_level=COMPRESSION_LEVEL,
    )
    return _with_serial(buffer.getvalue(), 0)


def _with_serial(data: bytes, serial: int) -> bytes:
    """Give a stream this number in the place of libsndfile's random one, page by page."""
    pages = []
    at = 0
    while at < len(data):
        num_parts = data[at + _NUM_PARTS_AT]
        parts = data[at + _HEADER_BYTES : at + _HEADER_BYTES + num_parts]
        end = at + _HEADER_BYTES + num_parts + sum(parts)
        page = bytearray(data[at:end])
        struct.pack_into("<I", page, _SERIAL_AT, serial)
        struct.pack_into("<I", page, _CRC_AT, 0)
        struct.pack_into("<I", page, _CRC_AT, _crc(page))
        pages.append(bytes(page))
        at = end
    return b"".join(pages)


def _crc(page: bytearray) -> int:
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(crc >> 24) ^ byte]
    return crc


def _table_entry(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1) ^ (_CRC_POLYNOMIAL if crc & 0x80000000 else 0)
    return crc & 0xFFFFFFFF


_CRC_TABLE = tuple(_table_entry(byte) for byte in range(256))
