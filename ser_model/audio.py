"""From a segment to its waveform: float32, mono, 16 kHz.

A recording is opened once and decoded once, front to back, in blocks; only the blocks of segments
that are still open are kept. A segment is cut at the recording's own sampling rate and resampled by
itself, so its samples do not depend on the segments around it. Channels are averaged.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from ser_model import storage
from ser_model.schema import Reason, Segment, SegmentError, Stage

SAMPLING_RATE_HZ = 16_000
MIN_SAMPLES = 400
"""25 ms: one frame of the wav2vec 2.0 front end, the shortest input that it can take."""

END_TOLERANCE_S = 0.05
"""A segment may end this far behind its recording's end (rounded annotations); it is cut there."""

BLOCK_S = 4.0
"""Most segments are one block: a call for each second costs as much as the decoding itself."""

_UNKNOWN_FRAMES = (
    1 << 62
)  # libsndfile's count for a stream whose header gives no length is 2^63 - 1
# libsndfile corrects a header that promises more than there is, and says so in its log.
_CORRECTED = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_BYTES = 0x7FFF_F000  # and above: written by tools that stream, for "length not known"

Waveform = npt.NDArray[np.float32]


@dataclass(slots=True)
class _OpenSegment:
    """A segment whose samples are being gathered; frames count at the recording's own rate."""

    segment: Segment
    start: int
    end: int | None
    blocks: list[Waveform] = field(default_factory=list)


def read_segments(
    recording: str, segments: Sequence[Segment]
) -> Iterator[tuple[Segment, Waveform | SegmentError]]:
    """Decode the segments of one recording in one pass.

    Segments may overlap. They come out as they end, each exactly once, either as a waveform
    [num_samples] at 16 kHz or as the error that tells why there is none.

    Args:
        recording: URI of the audio file: WAV, FLAC, OGG, Opus, MP3 and whatever libsndfile reads.
        segments: of this recording, in any order.
    """
    try:
        file = storage.open_binary(recording)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = Reason.RECORDING_NOT_FOUND if missing else Reason.RECORDING_UNREADABLE
        detail = f"{recording} does not exist" if missing else f"{recording}: {error}"
        for segment in segments:
            yield segment, SegmentError(Stage.READ, reason, detail)
        return
    with file:
        yield from _read_file(_Source(file), segments, recording)


def decode_audio(data: bytes) -> Waveform:
    """Decode an audio file in memory to [num_samples] at 16 kHz.

    Raises:
        SegmentError: the bytes are not audio, are truncated, or hold too few samples.
    """
    whole = Segment(segment_id="", recording="")
    ((_, result),) = _read_file(_Source(io.BytesIO(data)), [whole], "audio")
    if isinstance(result, SegmentError):
        raise result
    return result


def encode_flac(waveform: Waveform) -> bytes:
    """Encode [num_samples] at 16 kHz as 16 bit FLAC; samples beyond -1..1 are clipped.

    16 bit audio comes back bit for bit:

    >>> waveform = np.arange(-400, 400, dtype=np.float32) / 32768
    >>> bool((decode_audio(encode_flac(waveform)) == waveform).all())
    True
    """
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    sf.write(buffer, samples, SAMPLING_RATE_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


class _Source:
    """A file for libsndfile, which cannot pass on a read error: it is kept here instead."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def readinto(self, buffer: bytearray | memoryview) -> int:
        try:
            return int(self._file.readinto(buffer))  # type: ignore[attr-defined]  # all ours have it
        except OSError as error:
            self.error = error
            return 0

    def read(self, num_bytes: int) -> bytes:
        buffer = bytearray(num_bytes)
        return bytes(buffer[: self.readinto(buffer)])

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _SequentialSoundFile(sf.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """An audio file that is read front to back.

    soundfile seeks to where it is behind every read, which costs a search in compressed files.
    """

    def seekable(self) -> bool:
        return False


def _read_file(
    source: _Source, segments: Sequence[Segment], shown: str
) -> Iterator[tuple[Segment, Waveform | SegmentError]]:
    try:
        sound = _open_sound(source, shown)
    except SegmentError as error:
        for segment in segments:
            yield segment, error
        return
    with sound:
        rate = sound.samplerate
        num_frames = _promised_frames(sound)
        waiting: list[_OpenSegment] = []
        for segment in segments:
            placed = _place(segment, rate, num_frames)
            if isinstance(placed, SegmentError):
                yield segment, placed
            else:
                waiting.append(placed)
        waiting.sort(key=lambda placed: placed.start, reverse=True)
        yield from _gather(sound, source, waiting, num_frames, shown)


def _open_sound(source: _Source, shown: str) -> sf.SoundFile:
    if not source.read(1) and source.error is None:
        raise SegmentError(Stage.READ, Reason.EMPTY_RECORDING, f"{shown} has no bytes")
    source.seek(0)
    try:
        sound = _SequentialSoundFile(source)
    except sf.LibsndfileError as error:
        _raise_read_error(source, shown)
        detail = f"{shown} is no audio file that can be read: {error.error_string}"
        raise SegmentError(Stage.DECODE, Reason.NOT_AUDIO, detail) from error
    if sound.frames == 0:
        sound.close()
        raise SegmentError(Stage.READ, Reason.EMPTY_RECORDING, f"{shown} has no samples")
    return sound


def _promised_frames(sound: sf.SoundFile) -> int | None:
    """Return how many frames the header promises; None where it does not say."""
    num_frames = int(sound.frames)
    if num_frames >= _UNKNOWN_FRAMES:
        return None
    corrected = _CORRECTED.search(sound.extra_info)
    if corrected is None:
        return num_frames
    promised_bytes, actual_bytes = int(corrected[1]), int(corrected[2])
    if promised_bytes >= _UNKNOWN_BYTES or actual_bytes == 0:
        return num_frames
    return num_frames * promised_bytes // actual_bytes


def _place(segment: Segment, rate: int, num_frames: int | None) -> _OpenSegment | SegmentError:
    """Find a segment's frames; num_frames None means that the end is not known yet."""
    start_s, end_s = segment.start_s, segment.end_s
    duration_s = math.inf if num_frames is None else num_frames / rate
    shown = f"start_s {start_s:g}, end_s {'end' if end_s is None else f'{end_s:g}'}"
    if end_s is not None and not start_s < end_s:
        detail = f"{shown}: the end is not behind the start"
        return SegmentError(Stage.SEGMENT, Reason.END_BEFORE_START, detail)
    end = duration_s if end_s is None else end_s
    if not 0 <= start_s < duration_s or end > duration_s + END_TOLERANCE_S:
        detail = f"{shown}: outside the recording, which lasts {duration_s:.3f} s"
        return SegmentError(Stage.SEGMENT, Reason.BEYOND_END, detail)
    end = min(end, duration_s)
    end_frame = None if math.isinf(end) else round(end * rate)
    start_frame = round(start_s * rate)
    if num_frames is not None:
        start_frame = min(start_frame, num_frames - 1)
    return _OpenSegment(segment=segment, start=start_frame, end=end_frame)


def _gather(
    sound: sf.SoundFile,
    source: _Source,
    waiting: list[_OpenSegment],
    num_frames: int | None,
    shown: str,
) -> Iterator[tuple[Segment, Waveform | SegmentError]]:
    """Read block after block until the last segment is complete; `waiting` is latest first."""
    rate = sound.samplerate
    open_segments: list[_OpenSegment] = []
    position = 0
    more = True
    while more and (waiting or open_segments):
        block, more = _read_block(sound, position)
        block_end = position + len(block)
        while waiting and waiting[-1].start < block_end:
            open_segments.append(waiting.pop())
        still_open = []
        for placed in open_segments:
            stop = block_end if placed.end is None else min(placed.end, block_end)
            placed.blocks.append(block[max(placed.start - position, 0) : stop - position])
            if placed.end is not None and placed.end <= block_end:
                yield placed.segment, _finish(placed, rate)
            else:
                still_open.append(placed)
        open_segments = still_open
        position = block_end
    for placed in [*open_segments, *reversed(waiting)]:
        yield placed.segment, _finish_at_end(placed, source, rate, position, num_frames, shown)


def _read_block(sound: sf.SoundFile, position: int) -> tuple[Waveform, bool]:
    """Return the next block as mono [num_frames], and whether more may follow."""
    frames = np.empty((int(BLOCK_S * sound.samplerate), sound.channels), np.float32)
    try:
        num_frames = len(sound.read(out=frames))
        more = num_frames > 0
    except sf.LibsndfileError:
        # FLAC that breaks off raises, where other formats just end. What was decoded is good, but
        # what a later call might find behind the gap would stand at a wrong time.
        num_frames, more = max(sound.tell() - position, 0), False
    frames = frames[:num_frames]
    return frames.mean(axis=1, dtype=np.float32) if frames.shape[1] > 1 else frames[:, 0], more


def _finish_at_end(
    placed: _OpenSegment,
    source: _Source,
    rate: int,
    position: int,
    num_frames: int | None,
    shown: str,
) -> Waveform | SegmentError:
    """Settle a segment that was not complete when the decoder gave no more."""
    try:
        _raise_read_error(source, shown)
    except SegmentError as error:
        return error
    if num_frames is not None and num_frames - position > END_TOLERANCE_S * rate:
        detail = (
            f"{shown} promises {num_frames / rate:.3f} s and breaks off at {position / rate:.3f} s"
        )
        return SegmentError(Stage.DECODE, Reason.TRUNCATED, detail)
    settled = _place(placed.segment, rate, position)
    return settled if isinstance(settled, SegmentError) else _finish(placed, rate)


def _finish(placed: _OpenSegment, rate: int) -> Waveform | SegmentError:
    waveform = np.concatenate(placed.blocks) if placed.blocks else np.empty(0, np.float32)
    if not np.isfinite(waveform).all():
        return SegmentError(Stage.DECODE, Reason.NOT_FINITE, "samples are NaN or infinite")
    if rate != SAMPLING_RATE_HZ and len(waveform):
        waveform = soxr.resample(waveform, rate, SAMPLING_RATE_HZ, quality="HQ")
    if len(waveform) < MIN_SAMPLES:
        detail = f"{len(waveform)} samples at 16 kHz; at least {MIN_SAMPLES} (25 ms) are needed"
        return SegmentError(Stage.SEGMENT, Reason.TOO_SHORT, detail)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _raise_read_error(source: _Source, shown: str) -> None:
    if source.error is not None:
        detail = f"{shown}: {source.error}"
        raise SegmentError(Stage.READ, Reason.RECORDING_UNREADABLE, detail) from source.error
