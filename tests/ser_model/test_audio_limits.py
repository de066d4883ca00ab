"""What a segment may take: longer ones are rejected, and memory stays small whatever comes."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ser_model import storage
from ser_model.audio import decode_audio, read_segments
from ser_model.schema import Reason, Segment, SegmentError, Stage

WriteRecording = Callable[..., str]


def segment(recording: str, start_s: float = 0.0, end_s: float | None = None) -> Segment:
    return Segment(
        segment_id=f"{start_s}-{end_s}", recording=recording, start_s=start_s, end_s=end_s
    )


def test_segments_that_are_too_long_are_rejected_unread(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=10.0)
    wanted = {
        (0.0, None): Reason.TOO_LONG,
        (0.0, 2.5): Reason.TOO_LONG,
        (7.0, None): Reason.TOO_LONG,
        (0.3, 2.3): None,
        (8.0, None): None,
        (9.0, 12.0): Reason.BEYOND_END,
    }
    segments = [segment(recording, *times) for times in wanted]
    for one, result in read_segments(recording, segments, max_segment_s=2.0):
        found = result.reason if isinstance(result, SegmentError) else None
        assert found == wanted[one.start_s, one.end_s]
    whole = read_segments(recording, segments[:1], max_segment_s=2.0)
    ((_, error),) = whole
    assert error.detail == (
        "lasts 10.000 s; at most 2 s are taken (--max-segment): cut long recordings into segments "
        "with --window"
    )


def test_too_long_is_found_out_where_the_header_does_not_tell(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    data = bytearray(storage.read_bytes(write_recording(tmp_path / "a.flac", duration_s=30.0)))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO: the number of samples is not known
    with pytest.raises(SegmentError) as caught:
        decode_audio(bytes(data), max_segment_s=29.9)
    assert (caught.value.stage, caught.value.reason) == (Stage.SEGMENT, Reason.TOO_LONG)
    assert len(decode_audio(bytes(data), max_segment_s=30.0)) == 480_000


def test_a_small_file_of_much_audio_is_not_unfolded() -> None:
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", 655_350, 8, format="FLAC") as file:
        for _ in range(20):
            file.write(np.zeros((655_350, 8), np.int16))
    known = bytearray(buffer.getvalue())
    unknown = known.copy()
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)
    assert len(known) < 120_000  # and 400 MB as float32
    for data in (known, unknown):
        tracemalloc.start()
        with pytest.raises(SegmentError) as caught:
            decode_audio(bytes(data), max_segment_s=10.0)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert caught.value.reason == Reason.TOO_LONG
        assert peak_bytes < 20_000_000


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recording of 2 h at 8 kHz, 460 MB at 16 kHz as float32: a hum, which FLAC packs well."""
    path = tmp_path_factory.mktemp("audio") / "two_hours.flac"
    second = np.sin(2 * np.pi * 50 * np.arange(8_000) / 8_000)
    minute = np.tile((2_000 * second).astype(np.int16), 60)
    with sf.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(120):
            file.write(minute)
    return str(path)


READ_AND_MEASURE = """
import resource, sys
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.schema import Segment, SegmentError

recording, times = sys.argv[1], eval(sys.argv[2])
opened, num_read, positions = [], [0], []
real = storage.open_binary

class Counting:
    def __init__(self, file):
        self.file = file
    def readinto(self, buffer):
        positions.append(self.file.tell())
        num_bytes = self.file.readinto(buffer)
        num_read[0] += num_bytes
        return num_bytes
    def __getattr__(self, name):
        return getattr(self.file, name)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()

def open_binary(uri):
    opened.append(uri)
    return Counting(real(uri))

storage.open_binary = open_binary
segments = [
    Segment(segment_id=str(time), recording=recording, start_s=time[0], end_s=time[1])
    for time in times
]
before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reasons = {}
num_samples = 0
for _, result in read_segments(recording, segments):
    if isinstance(result, SegmentError):
        reasons[str(result.reason)] = reasons.get(str(result.reason), 0) + 1
    else:
        num_samples += len(result)
grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
num_back = sum(b < a for a, b in zip(positions, positions[1:]))
print(len(opened), num_read[0], num_back, grown_kib, num_samples, dict(reasons))
"""


@pytest.mark.parametrize(
    ("times", "num_samples", "reasons"),
    [
        ("[(10.0 * n, 10.0 * n + 10.0) for n in range(720)]", 720 * 160_000, {}),
        ("[(0.0, None)]", 0, {"too_long": 1}),
        ("[(0.0, 10.0), (60.0, None)]", 160_000, {"too_long": 1}),
        ("[(0.0, 10.0), (6_930.0, None)]", 160_000 + 270 * 16_000, {}),
    ],
    ids=["720 segments", "one whole", "one open-ended", "the last minutes"],
)
def test_two_hours_take_little_memory_and_one_pass(
    two_hours: str, times: str, num_samples: int, reasons: dict[str, int]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, two_hours, times],
        capture_output=True,
        text=True,
        check=True,
    )
    opened, num_read, num_back, grown_kib, found, found_reasons = done.stdout.split(maxsplit=5)
    assert int(opened) == 1
    assert int(num_read) < 1.01 * Path(two_hours).stat().st_size
    assert int(num_back) <= 3  # the header is looked at more than once, nothing behind it is
    assert int(grown_kib) < 100_000
    assert int(found) == num_samples
    assert found_reasons.strip() == str(reasons)
