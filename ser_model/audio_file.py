"""An audio file that is opened once and read front to back, in blocks of mono float32.

libsndfile decodes. What it does not tell, or tells wrongly, is found out here, so that audio is
never lost without a word:

- It corrects a header that promises more than there is; the promise stands in its log.
- It guesses the length of an MP3 file without a Xing header from its first frame, and is far off
  for a variable bit rate. Here such a file's frames are counted, which reads it once more.
- It takes OGG that was cut off for shorter. A file that ends inside a page was cut off; one that
  ends at a page's end without the end-of-stream flag is a captured stream, and is whole.

A header that promises *less* than there is decides: what lies behind its end is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile as sf

from ser_model.schema import Reason, SegmentError, Stage, UnfinishedError

BLOCK_S = 4.0
"""Most segments are one block: a call for each second costs as much as the decoding itself."""

MAX_BLOCK_SAMPLES = 1 << 21
"""Of all channels: 8 MiB, whatever rate and number of channels a header claims."""

END_TOLERANCE_S = 0.05
"""Headers and annotations may be this far off a recording's end."""

Waveform: TypeAlias = npt.NDArray[np.float32]

# libsndfile's count for a stream whose header gives no length is 2^63 - 1.
_UNKNOWN_FRAMES = 1 << 62
# In WAV a wrong size of RIFF is common and means nothing; in W64 (riff) it is all that is logged.
_CORRECTED = re.compile(
    r"^\s*(?:data|SSND|riff|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_UNKNOWN_BYTES = 0x7FFF_F000  # and above: written by tools that stream, for "length not known"
_HEAD_BYTES = 512
_MAX_PAGE_BYTES = 27 + 255 + 255 * 255  # of OGG: RFC 3533, section 6


class AudioFile:
    """An open audio file; a context manager that closes it.

    Attributes:
        shown: what messages call it.
        sampling_rate_hz: its own.
        num_frames: how many it promises; None where only reading to the end can tell.
    """

    def __init__(self, file: BinaryIO, shown: str) -> None:
        """Read the header.

        Args:
            file: seekable.
            shown: what messages call it.

        Raises:
            SegmentError: it cannot be read, is empty, or is no audio.
            UnfinishedError: its store does not answer; so do all methods that read.
        """
        self.shown = shown
        self._file = file
        self._source = _Source(file)
        self._sound = self._open()
        self.sampling_rate_hz = int(self._sound.samplerate)
        self._broke_off = self._sound.format == "OGG" and _ends_inside_page(self._source)
        self.num_frames = None if self._broke_off else _promised_frames(self._sound)
        self._position = 0

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sound.close()
        self._file.close()

    @property
    def duration_s(self) -> float | None:
        """How long it promises to be; None where only reading to the end can tell."""
        return None if self.num_frames is None else self.num_frames / self.sampling_rate_hz

    def blocks(self) -> Iterator[Waveform]:
        """Yield block after block, mono: channels are averaged.

        A block is overwritten by the next one.
        """
        num_channels = self._sound.channels
        num_frames = min(int(BLOCK_S * self.sampling_rate_hz), MAX_BLOCK_SAMPLES // num_channels)
        buffer = np.empty((max(num_frames, 1), num_channels), np.float32)
        more = True
        while more:
            try:
                num_read = len(self._sound.read(out=buffer))
                more = num_read > 0
            except sf.LibsndfileError:
                # FLAC that breaks off raises, where other formats just end. What was decoded is
                # good; what a later call might find behind the gap would stand at a wrong time.
                num_read = max(self._sound.tell() - self._position, 0)
                more, self._broke_off = False, True
            if num_read > 0:
                self._position += num_read
                yield _mean_of_channels(buffer[:num_read])

    def why_it_ended(self) -> SegmentError | None:
        """Tell, once `blocks` gives no more, why that is not the recording's end; None if it is."""
        try:
            self._raise_read_error()
        except SegmentError as error:
            return error
        rate = self.sampling_rate_hz
        at = f"breaks off at {self._position / rate:.3f} s"
        if self.num_frames is None:
            detail = f"{self.shown} {at}"
            return SegmentError(Stage.DECODE, Reason.TRUNCATED, detail) if self._broke_off else None
        if self.num_frames - self._position <= END_TOLERANCE_S * rate:
            return None
        detail = f"{self.shown} promises {self.num_frames / rate:.3f} s and {at}"
        return SegmentError(Stage.DECODE, Reason.TRUNCATED, detail)

    def _open(self) -> sf.SoundFile:
        head = self._source.read(_HEAD_BYTES)
        self._raise_read_error()
        if not head:
            raise SegmentError(Stage.READ, Reason.EMPTY_RECORDING, f"{self.shown} has no bytes")
        self._source.hides_length = _is_mp3_of_unknown_length(self._source, head)
        self._source.seek(0)
        try:
            sound = _SequentialSoundFile(self._source)
        except sf.LibsndfileError as error:
            self._raise_read_error()
            detail = f"{self.shown} {_what_it_is(head)}: {error.error_string}"
            raise SegmentError(Stage.DECODE, Reason.NOT_AUDIO, detail) from error
        if sound.frames == 0:
            sound.close()
            detail = f"{self.shown} has no samples, by its header"
            raise SegmentError(Stage.READ, Reason.EMPTY_RECORDING, detail)
        return sound

    def _raise_read_error(self) -> None:
        error = self._source.error
        if isinstance(error, UnfinishedError):
            raise error
        if error is not None:
            detail = f"{self.shown}: {error}"
            raise SegmentError(Stage.READ, Reason.RECORDING_UNREADABLE, detail) from error


class _Source:
    """A file for libsndfile, which cannot pass on an exception: it is kept here instead.

    Attributes:
        error: what went wrong in reading.
        hides_length: whether the MP3 decoder is told that the file ends where it begins, which
            makes it count the frames instead of guessing their number. libsndfile asks for the
            length first and gets it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._num_lengths_told = 0
        self._hidden = False
        self.error: OSError | UnfinishedError | None = None
        self.hides_length = False

    def readinto(self, buffer: bytearray | memoryview) -> int:
        try:
            return int(self._file.readinto(buffer))  # type: ignore[attr-defined]  # all ours have it
        except (OSError, UnfinishedError) as error:
            self.error = error
            return 0

    def read(self, num_bytes: int) -> bytes:
        buffer = bytearray(num_bytes)
        return bytes(buffer[: self.readinto(buffer)])

    def seek(self, offset: int, whence: int = 0) -> int:
        self._hidden = False
        if self.hides_length and (offset, whence) == (0, 2):
            self._hidden = self._num_lengths_told > 0
            self._num_lengths_told += 1
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # before the beginning of a file that is no audio
            return -1

    def tell(self) -> int:
        return 0 if self._hidden else self._file.tell()


class _SequentialSoundFile(sf.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """An audio file that is read front to back.

    soundfile seeks to where it is behind every read, which costs a search in compressed files.
    """

    def seekable(self) -> bool:
        return False


def _mean_of_channels(frames: npt.NDArray[np.float32]) -> Waveform:
    """Average [num_frames, num_channels] to [num_frames]; several times as fast as numpy's mean."""
    mono = frames[:, 0]
    if frames.shape[1] > 1:
        mono = mono.copy()
        for channel in range(1, frames.shape[1]):
            mono += frames[:, channel]
        mono /= frames.shape[1]
    return mono


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


def _is_mp3_of_unknown_length(source: _Source, head: bytes) -> bool:
    """Tell whether a file begins as MP3 does, and its first frame is no header with a length."""
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # The size of an ID3v2 tag has 7 bits a byte: id3.org/id3v2.4.0-structure, section 6.2.
        start = 10 + sum(head[6 + i] << shift for i, shift in enumerate((21, 14, 7, 0)))
    source.seek(start)
    frame = source.read(_HEAD_BYTES)
    is_frame = len(frame) > 4 and frame[0] == 0xFF and frame[1] & 0xE6 == 0xE2  # layer III
    return is_frame and not re.search(b"Xing|Info|VBRI", frame[:64])


def _ends_inside_page(source: _Source) -> bool:
    """Tell whether an OGG file ends before its last page does (RFC 3533, section 6)."""
    position = source.tell()
    num_bytes = source.seek(0, 2)
    source.seek(max(num_bytes - _MAX_PAGE_BYTES, 0))
    tail = source.read(_MAX_PAGE_BYTES)
    source.seek(position)
    start = tail.rfind(b"OggS\0")
    if start < 0:
        return True
    page = tail[start:]
    num_parts = page[26] if len(page) > 26 else 255
    return len(page) < 27 + num_parts + sum(page[27 : 27 + num_parts])


def _what_it_is(head: bytes) -> str:
    """Say what a file is that is not audio, from its first bytes."""
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the audio itself: run `git lfs pull` where it lies"
    if re.match(rb"\s*<(?:!doctype|html|\?xml)", head, re.IGNORECASE):
        return "is a web page or XML, not audio: was it downloaded from an address that had moved?"
    return "is no audio file that can be read"
