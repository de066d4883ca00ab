"""A folder of sounds that conditions mix in: which are drawn, and how they are read.

Sounds are read when they are drawn, at 16 kHz, mono, without silence at their ends, and at most
their first minute. Some are kept in memory, up to a limit; what is kept changes the time, never
the samples.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ser_model import storage
from ser_model.audio import MIN_SAMPLES, SAMPLING_RATE_HZ, Waveform, open_recording, stream_16_khz
from ser_model.augment.level import SILENT_POWER, power
from ser_model.augment.noise_layout import ADVICE, KINDS, Sound, find_sounds
from ser_model.schema import ConfigError, Reason, SegmentError, Stage

MAX_SOUND_S = 60.0
CACHE_BYTES = 64 << 20
"""Room for some two hundred sounds of five seconds, or sixteen of a minute."""

MAX_DRAWS = 20
"""So often a sound is drawn anew before a segment is rejected."""

QUIETEST_PART = 1e-3
"""A stretch whose power is under this part (-30 dB) of its sound's is drawn anew: a pause would
be amplified until its hiss had the level that was asked for."""

_EDGE_AMPLITUDE = 1e-3
"""At both ends what is under this part (-60 dB) of the peak is cut away."""

_logger = logging.getLogger(__name__)


class NoiseFolder:
    """Sounds by class. Threads may share it; it pickles without the sounds that it keeps.

    Attributes:
        uri: the folder.
        sounds: all of them, by path.
    """

    def __init__(self, uri: str, sounds: tuple[Sound, ...]) -> None:
        """Take sounds that are already known; `open` finds them."""
        self.uri = uri
        self.sounds = sounds
        self._by_kind = {
            kind: tuple(sound for sound in sounds if sound.noise_class in classes)
            for kind, classes in KINDS.items()
        }
        self._kept: OrderedDict[str, Waveform] = OrderedDict()
        self._skipped: dict[str, str] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, uri: str) -> NoiseFolder:
        """Find the sounds of a folder, local or at any URI; none is read yet.

        Args:
            uri: holds ESC-50 (`meta/esc50.csv`, `audio/`), MUSAN (`music/`, `noise/`, `speech/`),
                a CSV file with the columns `file` and `class`, subfolders named by class, or
                several of these side by side.

        Raises:
            ConfigError: there are no sounds, or a table names one that is not there.
            ManifestError: a table cannot be read.
            OSError: the folder cannot be listed.
        """
        uri = storage.absolute(uri)
        return cls(uri, find_sounds(uri))

    def __getstate__(self) -> tuple[str, tuple[Sound, ...]]:
        """Leave the sounds that are kept in memory behind."""
        return self.uri, self.sounds

    def __setstate__(self, state: tuple[str, tuple[Sound, ...]]) -> None:
        """Begin anew, with nothing in memory."""
        self.__init__(*state)  # type: ignore[misc]  # of this very class

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same list of sounds."""
        return isinstance(other, NoiseFolder) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self.__getstate__())

    @property
    def sha256(self) -> str:
        """What the names and classes of all sounds hash to, wherever the folder lies.

        Another list of sounds draws others for the same segment. The audio itself is not read.
        """
        lines = (f"{sound.path}\0{sound.noise_class}\n" for sound in self.sounds)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def skipped(self) -> Mapping[str, str]:
        """The sounds that this process drew and could not use, and why."""
        return dict(self._skipped)

    def check(self, kinds: set[str]) -> None:
        """Refuse kinds of which there are no sounds.

        Raises:
            ConfigError: the message says which, and where to get them.
        """
        absent = sorted(kind for kind in kinds if not self._by_kind[kind])
        if absent:
            raise ConfigError(f"{self.uri} has no sounds of {', '.join(absent)}: {ADVICE}")

    def draw(self, kind: str, num_samples: int, rng: np.random.Generator) -> Waveform:
        """Draw a stretch [num_samples] of a sound; short ones are looped from a drawn offset.

        Args:
            kind: a key of KINDS.
            num_samples: how many, > 0.
            rng: where to draw from.

        Raises:
            SegmentError: all that were drawn are silent, broken or too short.
            ConfigError: a sound that the folder lists cannot be read here.
            UnfinishedError: the folder's store does not answer.
        """
        for _ in range(MAX_DRAWS):
            sound = self._draw_sound(kind, rng)
            if sound is None:
                continue
            if len(sound) > num_samples:
                start = int(rng.integers(len(sound) - num_samples, endpoint=True))
                stretch = sound[start : start + num_samples]
            else:
                stretch = np.resize(np.roll(sound, -int(rng.integers(len(sound)))), num_samples)
            if power(stretch) >= QUIETEST_PART * power(sound):
                return stretch
        raise self._nothing_usable(kind)

    def draw_beginning(self, kind: str, most_samples: int, rng: np.random.Generator) -> Waveform:
        """Draw a sound and return its beginning: at most so many samples, and never a loop.

        Raises:
            SegmentError: as `draw`.
            ConfigError: likewise.
            UnfinishedError: likewise.
        """
        for _ in range(MAX_DRAWS):
            sound = self._draw_sound(kind, rng)
            if sound is not None:
                beginning = sound[:most_samples]
                if power(beginning) >= QUIETEST_PART * power(sound):
                    return beginning
        raise self._nothing_usable(kind)

    def _nothing_usable(self, kind: str) -> SegmentError:
        detail = f"{MAX_DRAWS} sounds of {kind} from {self.uri}: none has anything to hear"
        return SegmentError(Stage.AUGMENT, Reason.NO_USABLE_NOISE, detail)

    def _draw_sound(self, kind: str, rng: np.random.Generator) -> Waveform | None:
        sounds = self._by_kind[kind]
        return self._read(sounds[int(rng.integers(len(sounds)))].path)

    def _read(self, path: str) -> Waveform | None:
        """Return a sound, or None for one that cannot be used, which is noted once."""
        with self._lock:
            if path in self._skipped:
                return None
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
            uri = storage.join(self.uri, path)
            waveform, why_not = _load(uri)
            if why_not:
                self._skipped[path] = why_not
                _logger.warning("%s is left out as noise: %s", uri, why_not)
                return None
            self._kept[path] = waveform
            while sum(kept.nbytes for kept in self._kept.values()) > CACHE_BYTES:
                self._kept.popitem(last=False)
            return waveform


def _load(uri: str) -> tuple[Waveform, str]:
    """Return a sound at 16 kHz without silent ends, and why it cannot be used ("" if it can).

    Raises:
        ConfigError: the file cannot be read any more. To pass it over would let a segment hear
            something else on this machine than on another.
        UnfinishedError: its store does not answer.
    """
    pieces: list[Waveform] = []
    try:
        with open_recording(uri) as file:
            for piece in stream_16_khz(file):
                pieces.append(piece)
                if sum(map(len, pieces)) >= MAX_SOUND_S * SAMPLING_RATE_HZ:
                    break
    except SegmentError as error:
        if error.reason in (Reason.RECORDING_NOT_FOUND, Reason.RECORDING_UNREADABLE):
            raise ConfigError(
                f"{error.detail}, though the noise folder lists it: every machine that scores "
                "must be able to read the whole folder"
            ) from error
        return np.empty(0, np.float32), error.detail
    waveform = np.concatenate(pieces)[: int(MAX_SOUND_S * SAMPLING_RATE_HZ)]
    if not np.isfinite(waveform).all():
        return waveform, "samples are NaN or infinite"
    amplitude: Any = np.abs(waveform)
    heard = np.flatnonzero(amplitude > _EDGE_AMPLITUDE * amplitude.max(initial=0.0))
    if len(heard) == 0 or power(waveform) <= SILENT_POWER:
        return waveform, "it is silent"
    waveform = waveform[heard[0] : heard[-1] + 1].copy()
    if len(waveform) < MIN_SAMPLES:
        return waveform, f"{len(waveform)} samples are heard; at least {MIN_SAMPLES} are needed"
    return waveform, ""
