"""One condition: a name, and what it does to a waveform."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ser_model.audio import Waveform
from ser_model.schema import Reason, SegmentError, Stage

Transform: TypeAlias = Callable[[Waveform, np.random.Generator], Waveform]
"""Takes a waveform [num_samples] at 16 kHz, which it leaves as it is, and where to draw from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is done to the audio of every segment before it is scored.

    Attributes:
        name: as it stands in the column `condition`; safe in file names.
        description: one line for people.
        transform: what is done; it pickles.
        draws: whose random numbers it takes. Conditions that differ in severity alone share
            them: a segment then hears the same noise at all levels, and their differences are
            paired.
        needs_noise: whether it mixes in sounds of a noise folder.
        packages: what must be installed for it, of the extra `augment`.
    """

    name: str
    description: str
    transform: Transform
    draws: str
    needs_noise: bool = False
    packages: tuple[str, ...] = ()

    def apply(self, waveform: Waveform, segment_id: str, seed: int) -> Waveform:
        """Return the augmented waveform, float32 at 16 kHz; the one that is given stays as it is.

        Samples may be beyond -1 to 1: nothing is clipped unless the condition is about clipping.

        Args:
            waveform: mono samples [num_samples] at 16 kHz.
            segment_id: of the segment; with the seed it decides all that is random.
            seed: any integer.

        Raises:
            SegmentError: at the stage `augment`: the segment is silent where a level is needed,
                too short, or not finite; or no drawn sound of the noise folder could be used.
            ConfigError: a sound that the noise folder lists cannot be read here.
            UnfinishedError: the store of the noise folder does not answer.

        Example:
            >>> from ser_model.augment import conditions
            >>> (noise,) = conditions(["white-noise-20db"], None)
            >>> speech = np.sin(np.arange(16_000, dtype=np.float32) / 20)
            >>> augmented = noise.apply(speech, "a", seed=0)
            >>> again = noise.apply(speech, "a", seed=0)
            >>> augmented.dtype.name, len(augmented), bool((augmented == again).all())
            ('float32', 16000, True)
        """
        if len(waveform) == 0:
            raise too_short("the segment has no samples")
        if not np.isfinite(waveform).all():
            raise SegmentError(Stage.AUGMENT, Reason.NOT_FINITE, "samples are NaN or infinite")
        augmented = self.transform(waveform, generator(seed, self.draws, segment_id))
        if len(augmented) == 0:
            raise too_short(f"{len(waveform)} samples; nothing would be left of them")
        if not np.isfinite(augmented).all():
            detail = f"{self.name} makes samples that are NaN or infinite"
            raise SegmentError(Stage.AUGMENT, Reason.NOT_FINITE, detail)
        return np.ascontiguousarray(augmented, dtype=np.float32)


def generator(seed: int, draws: str, segment_id: str) -> np.random.Generator:
    """Return a generator that depends on nothing but its arguments (BLAKE2b, PCG64).

    >>> both = [generator(0, "fade", segment_id).integers(1000) for segment_id in ("a", "a")]
    >>> bool(both[0] == both[1])
    True
    """
    # Neither a number nor a name holds the separator: no two triples make the same text.
    key = f"{seed}\x1f{draws}\x1f{segment_id}".encode()
    digest = hashlib.blake2b(key, digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def too_short(detail: str) -> SegmentError:
    """Return the error for a segment that is too short for a condition."""
    return SegmentError(Stage.AUGMENT, Reason.TOO_SHORT, detail)
