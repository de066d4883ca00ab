"""Speaks transcripts with one neutral voice: each text once, into a FLAC file named by its hash.

What is there already is not spoken again, so an interrupted probe goes on where it was. A voice is
made anew for each text, because espeak-ng carries state from one sentence to the next: so a file
depends on nothing but its text and the voice.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
import soxr

from orchestration.level import set_level
from orchestration.progress import Progress
from orchestration.voices import ESPEAK_SAMPLING_RATE_HZ, Voice, espeak_version
from ser_model import storage
from ser_model.audio import MIN_SAMPLES, SAMPLING_RATE_HZ, Waveform, encode_flac

MAX_CHARACTERS = 5_000
"""A longer transcript is not spoken: it would take longer than the 300 s that a segment may."""


class Unspoken(StrEnum):
    """Why a transcript was not spoken. The codes are stable."""

    NO_TRANSCRIPT = "no_transcript"
    EMPTY_TRANSCRIPT = "empty_transcript"
    TRANSCRIPT_TOO_LONG = "transcript_too_long"
    OTHER_SCRIPT = "other_script"
    NO_SPEECH = "no_speech"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeutralVoice:
    """A voice that says everything in the same way.

    Attributes:
        name: espeak-ng's language, then perhaps a plus and a variant.
        rate_wpm: words a minute; espeak-ng's own.
        pitch: 0 to 99; the voice's own.
        pitch_range: 0 to 99; the voice's own.
        level_dbfs: root mean square of every text, at the level that speech is commonly tested at.
    """

    name: str = "en-us"
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    level_dbfs: float = -26.0

    @property
    def language(self) -> str:
        """The code of the language, without region, variant and folder.

        >>> NeutralVoice(name="gmw/en-US+m3").language, NeutralVoice(name="de").language
        ('en', 'de')
        """
        return self.name.rpartition("/")[2].partition("+")[0].partition("-")[0].lower()

    def facts(self) -> dict[str, object]:
        """Return all that decides how a text sounds.

        Raises:
            ConfigError: espeak-ng is not installed, or has no such voice.
        """
        with Voice(self.name):
            return {
                "synthesiser": "espeak-ng",
                "espeakng_loader_version": espeak_version(),
                **asdict(self),
            }

    def speak(self, text: str) -> Waveform | None:
        """Speak a text, as from `spoken_text`: [num_samples] at 16 kHz; None if nothing is heard.

        Example:
            >>> waveform = NeutralVoice().speak("Good morning.")
            >>> waveform is not None and 8_000 < len(waveform) < 32_000
            True
            >>> NeutralVoice().speak("...")
        """
        with Voice(self.name) as voice:
            waveform = voice.speak(
                text, rate_wpm=self.rate_wpm, pitch=self.pitch, pitch_range=self.pitch_range
            )
        waveform = soxr.resample(waveform, ESPEAK_SAMPLING_RATE_HZ, SAMPLING_RATE_HZ)
        if len(waveform) < MIN_SAMPLES or not np.any(waveform):
            return None
        return set_level(waveform, self.level_dbfs)


def spoken_text(transcript: str) -> str:
    r"""Return a transcript as it is spoken: without control characters, which command espeak-ng.

    >>> spoken_text("Good\x0150S  morning.\n")
    'Good 50S morning.'
    """
    kept = "".join(" " if unicodedata.category(c) == "Cc" else c for c in transcript)
    return " ".join(kept.split())


def why_unspoken(transcript: str | None, voice: NeutralVoice) -> Unspoken | None:
    r"""Tell why a transcript cannot be spoken; None if it may be tried.

    English voices spell out letters of other scripts ("Chinese letter"), which says nothing of the
    words. Voices of other languages are not checked for it.

    >>> str(why_unspoken("\u041f\u0440\u0438\u0432\u0435\u0442", NeutralVoice()))
    'other_script'
    """
    if transcript is None:
        return Unspoken.NO_TRANSCRIPT
    if len(transcript) > MAX_CHARACTERS:
        return Unspoken.TRANSCRIPT_TOO_LONG
    if not spoken_text(transcript):
        return Unspoken.EMPTY_TRANSCRIPT
    letters = [c for c in transcript if c.isalpha()]
    num_latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    if voice.language == "en" and 2 * num_latin < len(letters):
        return Unspoken.OTHER_SCRIPT
    return None


def speak_all(texts: Collection[str], folder: str, voice: NeutralVoice) -> dict[str, str | None]:
    """Speak each text into a file of the folder that is not there yet.

    Args:
        texts: as from `spoken_text`, each once.
        folder: path or URI.
        voice: who speaks.

    Returns:
        The name of each text's file; None where nothing is to be heard.

    Raises:
        ConfigError: espeak-ng is not installed, or has no such voice.
    """
    facts = voice.facts()
    names = {text: _file_name(text, facts) for text in texts}
    there = set(storage.list_names(folder))
    missing = [text for text, name in names.items() if name not in there]

    def speak(text: str) -> bool:
        waveform = voice.speak(text)
        if waveform is not None:
            storage.write_atomic(storage.join(folder, names[text]), encode_flac(waveform))
        return waveform is not None

    silent = set()
    # Threads suffice: espeak-ng computes outside of Python's lock, in a copy of the library each.
    with (
        Progress("speak", total=len(missing), unit="texts") as progress,
        ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool,
    ):
        try:
            for text, is_heard in zip(missing, pool.map(speak, missing), strict=True):
                if not is_heard:
                    silent.add(text)
                progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or leaving waits until all is spoken
            raise
    return {text: None if text in silent else name for text, name in names.items()}


def _file_name(text: str, facts: Mapping[str, object]) -> str:
    content = storage.to_json_bytes({"text": text, **facts})
    return f"{hashlib.sha256(content).hexdigest()[:32]}.flac"
