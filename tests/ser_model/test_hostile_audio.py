"""A WAV file whose count of samples does not fit the decoder's numbers (CVE-2026-37555)."""

import struct
from pathlib import Path

import pytest

from ser_model.audio_file import AudioFile
from ser_model.schema import Reason, SegmentError

BLOCK_BYTES = 25_004
SAMPLES_PER_BLOCK = 2 * (BLOCK_BYTES - 4) + 1


def test_an_overflowing_count_of_samples_is_no_audio(tmp_path: Path) -> None:
    num_blocks = (1 << 31) // SAMPLES_PER_BLOCK + 1  # one more than a signed number of 32 bits has
    num_bytes = num_blocks * BLOCK_BYTES
    ima_adpcm = struct.pack(
        "<HHIIHHHH", 0x11, 1, 16_000, 16_000, BLOCK_BYTES, 4, 2, SAMPLES_PER_BLOCK
    )
    chunks = b"fmt " + struct.pack("<I", len(ima_adpcm)) + ima_adpcm
    chunks += b"fact" + struct.pack("<II", 4, 1) + b"data" + struct.pack("<I", num_bytes)
    path = tmp_path / "a.wav"
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 4 + len(chunks) + num_bytes) + b"WAVE" + chunks)
        file.truncate(file.tell() + num_bytes)  # a gigabyte that takes no place on the disk
    with path.open("rb") as file, pytest.raises(SegmentError) as caught:
        AudioFile(file, "a.wav")
    assert caught.value.reason == Reason.NOT_AUDIO
