"""What there is to know of recordings before they are cut: how long, and where somebody speaks.

A recording is read block by block, of which none is kept, several recordings at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from orchestration.progress import Progress
from ser_model.audio import SAMPLING_RATE_HZ, Waveform, open_recording, stream_16_khz
from ser_model.audio_file import AudioFile
from ser_model.schema import SegmentError

NUM_READERS = 4
"""Recordings at a time: decoding releases Python's lock, and so does waiting for a store."""

Stretch: TypeAlias = tuple[float, float]
"""Start and end in seconds."""

FindSpeech: TypeAlias = Callable[[Iterator[Waveform]], Sequence[Stretch]]
"""Finds the stretches of speech of a recording at 16 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """What was found in a recording.

    Attributes:
        duration_s: None where it was not needed, or the recording cannot be read.
        speech: its stretches of speech; None where all of it counts.
        is_readable: whether it can be read, to its end where that was needed.
    """

    duration_s: float | None = None
    speech: Sequence[Stretch] | None = None
    is_readable: bool = True


def read_facts(needs_length: Mapping[str, bool], *, vad: bool) -> dict[str, RecordingFacts]:
    """Look into recordings, each once.

    Args:
        needs_length: recordings, each with whether its duration is asked for. Without `vad`, one
            whose duration is not is not opened.
        vad: find out where somebody speaks.

    Raises:
        ConfigError: `vad` without silero-vad.
        UnfinishedError: a store does not answer.
    """
    with _speech_finder(vad) as find_speech:
        readers = ThreadPoolExecutor(NUM_READERS, thread_name_prefix="recordings")
        try:
            found = readers.map(
                lambda wanted: _look_into(wanted[0], wanted[1], find_speech), needs_length.items()
            )
            facts: dict[str, RecordingFacts] = {}
            with Progress("segment", total=len(needs_length), unit="recordings") as progress:
                for recording, one in zip(needs_length, found, strict=True):
                    facts[recording] = one
                    progress.advance(1)
        finally:
            readers.shutdown(cancel_futures=True)
    return facts


@contextmanager
def _speech_finder(vad: bool) -> Iterator[FindSpeech | None]:
    if not vad:
        yield None
        return
    import torch

    from ser_model.voice_activity import VoiceActivityModel, speech_stretches

    model = VoiceActivityModel()
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is small: threads of its own would wait for each other
    try:
        yield lambda blocks: speech_stretches(model.probabilities(blocks))
    finally:
        torch.set_num_threads(num_threads)


def _look_into(
    recording: str, needs_length: bool, find_speech: FindSpeech | None
) -> RecordingFacts:
    if find_speech is None and not needs_length:
        return RecordingFacts()
    try:
        with open_recording(recording) as file:
            if find_speech is None and file.duration_s is not None:
                return RecordingFacts(duration_s=file.duration_s)
            blocks = _Counted(file)
            speech = None if find_speech is None else find_speech(iter(blocks))
            return RecordingFacts(duration_s=blocks.read_to_end(), speech=speech)
    except SegmentError:
        return RecordingFacts(is_readable=False)


class _Counted:
    """The blocks of a recording, and how long they are together."""

    def __init__(self, file: AudioFile) -> None:
        self._blocks = stream_16_khz(file)
        self._num_samples = 0

    def __iter__(self) -> Iterator[Waveform]:
        for block in self._blocks:
            self._num_samples += len(block)
            yield block

    def read_to_end(self) -> float:
        """Read what is left, and return the recording's duration in seconds."""
        for _ in self:
            pass
        return self._num_samples / SAMPLING_RATE_HZ
