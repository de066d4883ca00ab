"""From a segment to its waveform: float32, mono, 16 kHz.

A recording is opened once and decoded once, front to back, in blocks; only the samples of segments
that are still open are kept, at 16 kHz. A segment is cut at the recording's own sampling rate and
resampled by itself, so its samples do not depend on the segments around it. Segments longer than
`max_segment_s` are rejected without being gathered: memory is bounded by configuration, whatever
a recording's length, rate and header.

Channels are averaged, as the published models' pipelines do it. A dead channel halves the level
(-6 dB) and changes nothing else; models that normalize their input do not notice.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np
import soundfile as sf
import soxr

from ser_model import storage
from ser_model.audio_file import END_TOLERANCE_S, AudioFile
from ser_model.audio_file import Waveform as Waveform  # what this module returns
from ser_model.schema import MAX_SEGMENT_S, Reason, Segment, SegmentError, Stage

SAMPLING_RATE_HZ = 16_000
MIN_SAMPLES = 400
"""25 ms: one frame of the wav2vec 2.0 front end, the shortest input that it can take."""

ROUNDING_S = 1e-6
"""What adding up times in float64 may be off."""


def read_segments(
    recording: str, segments: Sequence[Segment], *, max_segment_s: float = MAX_SEGMENT_S
) -> Iterator[tuple[Segment, Waveform | SegmentError]]:
    """Decode the segments of one recording in one pass.

    Segments may overlap. They come out as they end, each exactly once, either as a waveform
    [num_samples] at 16 kHz or as the error that tells why there is none.

    Args:
        recording: URI of the audio file: WAV, FLAC, OGG, Opus, MP3 and whatever libsndfile reads.
        segments: of this recording, in any order.
        max_segment_s: longer segments are rejected.

    Raises:
        UnfinishedError: the recording's store does not answer, which is no fault of the recording.
    """
    try:
        file = open_recording(recording)
    except SegmentError as error:
        for segment in segments:
            yield segment, error
        return
    with file:
        yield from _read(file, segments, max_segment_s)


def decode_audio(data: bytes, *, max_segment_s: float = MAX_SEGMENT_S) -> Waveform:
    """Decode an audio file in memory to [num_samples] at 16 kHz.

    Raises:
        SegmentError: the bytes are not audio, are truncated, or hold too few or too many samples.
    """
    whole = Segment(segment_id="", recording="")
    with AudioFile(io.BytesIO(data), "audio") as file:
        ((_, result),) = _read(file, [whole], max_segment_s)
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


def open_recording(recording: str) -> AudioFile:
    """Open a recording and read its header; the caller closes it.

    Raises:
        SegmentError: it is missing, cannot be read, is empty, or is no audio.
    """
    try:
        with ExitStack() as closing:
            file = closing.enter_context(storage.open_binary(recording))
            audio_file = AudioFile(file, recording)
            closing.pop_all()
        return audio_file
    except FileNotFoundError as error:
        detail = f"{recording} does not exist"
        raise SegmentError(Stage.READ, Reason.RECORDING_NOT_FOUND, detail) from error
    except OSError as error:
        detail = f"{recording}: {error}"
        raise SegmentError(Stage.READ, Reason.RECORDING_UNREADABLE, detail) from error


def stream_16_khz(file: AudioFile) -> Iterator[Waveform]:
    """Yield a whole recording at 16 kHz, block after block, of which none is kept.

    Raises:
        SegmentError: the recording breaks off, or reading it failed.
    """
    resampler = _Resampler(file.sampling_rate_hz)
    for block in file.blocks():
        yield resampler.resample(block)
    yield resampler.finish()
    error = file.why_it_ended()
    if error is not None:
        raise error


class _Resampler:
    """Resamples what comes in blocks to 16 kHz; the same bit for bit as if it came at once."""

    def __init__(self, rate: int) -> None:
        self._stream = (
            None
            if rate == SAMPLING_RATE_HZ
            else soxr.ResampleStream(rate, SAMPLING_RATE_HZ, 1, dtype="float32", quality="HQ")
        )

    def resample(self, samples: Waveform) -> Waveform:
        """Return what follows at 16 kHz, in memory of its own."""
        if self._stream is None:
            return samples.copy()
        return self._chunk(samples, last=False)

    def finish(self) -> Waveform:
        """Return what the filter still held back."""
        nothing = np.empty(0, np.float32)
        return nothing if self._stream is None else self._chunk(nothing, last=True)

    def _chunk(self, samples: Waveform, *, last: bool) -> Waveform:
        assert self._stream is not None
        resampled: Waveform = self._stream.resample_chunk(samples, last=last)
        return resampled


class _OpenSegment:
    """A segment whose samples are being gathered; frames count at the recording's own rate.

    Attributes:
        start: its first frame.
        end: behind its last frame; None where only the recording's end can tell.
    """

    def __init__(self, segment: Segment, start: int, end: int | None, rate: int) -> None:
        self.segment = segment
        self.start = start
        self.end = end
        self._rate = rate
        self._pieces: list[Waveform] = []
        self._resampler: _Resampler | None = None  # made when it is needed: thousands may wait
        self._is_finite = True

    def add(self, samples: Waveform) -> None:
        """Take the next samples of the segment."""
        if self._resampler is None:
            self._resampler = _Resampler(self._rate)
        self._is_finite = self._is_finite and bool(np.isfinite(samples).all())
        if self._is_finite:
            self._pieces.append(self._resampler.resample(samples))

    def finish(self) -> Waveform | SegmentError:
        """Return the waveform, or why there is none."""
        if not self._is_finite:
            return SegmentError(Stage.DECODE, Reason.NOT_FINITE, "samples are NaN or infinite")
        if self._resampler is not None:
            self._pieces.append(self._resampler.finish())
        waveform = np.concatenate(self._pieces) if self._pieces else np.empty(0, np.float32)
        if len(waveform) < MIN_SAMPLES:
            detail = f"{len(waveform)} samples at 16 kHz; at least {MIN_SAMPLES} (25 ms) are needed"
            return SegmentError(Stage.SEGMENT, Reason.TOO_SHORT, detail)
        return waveform


def _read(
    file: AudioFile, segments: Sequence[Segment], max_segment_s: float
) -> Iterator[tuple[Segment, Waveform | SegmentError]]:
    waiting: list[_OpenSegment] = []
    for segment in segments:
        placed = _place(segment, file.sampling_rate_hz, file.num_frames, max_segment_s)
        if isinstance(placed, SegmentError):
            yield segment, placed
        else:
            waiting.append(placed)
    waiting.sort(key=lambda placed: placed.start, reverse=True)
    yield from _gather(file, waiting, max_segment_s)


def _place(
    segment: Segment, rate: int, num_frames: int | None, max_segment_s: float
) -> _OpenSegment | SegmentError:
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
    if math.isfinite(end) and end - start_s > max_segment_s + ROUNDING_S:
        return _too_long(f"lasts {end - start_s:.3f} s", max_segment_s)
    end_frame = None if math.isinf(end) else round(end * rate)
    start_frame = round(start_s * rate)
    if num_frames is not None:
        start_frame = min(start_frame, num_frames - 1)
    return _OpenSegment(segment, start_frame, end_frame, rate)


def _too_long(how_long: str, max_segment_s: float) -> SegmentError:
    detail = (
        f"{how_long}; at most {max_segment_s:g} s are taken (--max-segment): cut long recordings "
        "into segments with --window"
    )
    return SegmentError(Stage.SEGMENT, Reason.TOO_LONG, detail)


def _gather(
    file: AudioFile, waiting: list[_OpenSegment], max_segment_s: float
) -> Iterator[tuple[Segment, Waveform | SegmentError]]:
    """Read block after block until the last segment is complete; `waiting` is latest first."""
    most_frames = (max_segment_s + ROUNDING_S) * file.sampling_rate_hz
    open_segments: list[_OpenSegment] = []
    position = 0
    blocks = file.blocks()
    while waiting or open_segments:
        block = next(blocks, None)
        if block is None:
            break
        block_end = position + len(block)
        while waiting and waiting[-1].start < block_end:
            open_segments.append(waiting.pop())
        still_open = []
        for placed in open_segments:
            stop = block_end if placed.end is None else min(placed.end, block_end)
            if stop - placed.start > most_frames:
                yield placed.segment, _too_long("its end is not known", max_segment_s)
                continue
            placed.add(block[max(placed.start - position, 0) : stop - position])
            if placed.end is not None and placed.end <= block_end:
                yield placed.segment, placed.finish()
            else:
                still_open.append(placed)
        open_segments = still_open
        position = block_end
    for placed in [*open_segments, *reversed(waiting)]:
        yield placed.segment, _finish_at_end(placed, file, position, max_segment_s)


def _finish_at_end(
    placed: _OpenSegment, file: AudioFile, position: int, max_segment_s: float
) -> Waveform | SegmentError:
    """Settle a segment that was not complete when the decoder gave no more."""
    error = file.why_it_ended()
    if error is not None:
        return error
    settled = _place(placed.segment, file.sampling_rate_hz, position, max_segment_s)
    return settled if isinstance(settled, SegmentError) else placed.finish()
