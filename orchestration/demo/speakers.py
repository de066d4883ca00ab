"""Who speaks in the demo: voices of two sexes and three accents, each with a manner of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestration.demo.rule import Manner
from ser_model.schema import SPLITS

ACCENTS = {"american": "gmw/en-US", "british": "gmw/en", "scottish": "gmw/en-GB-scotland"}
"""espeak-ng's file for each accent."""

VARIANTS = {
    "female": ("f1", "f2", "f3", "f4", "f5"),
    "male": ("m1", "m2", "m3", "m4", "m6"),
}
"""espeak-ng's variants of a voice; each split takes them in this order. Those on its Klatt
synthesiser draw from the C library's random numbers, which nobody can seed for one voice alone;
there is none of them here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One simulated speaker.

    Attributes:
        speaker_id: accent, sex and a number.
        sex: "female" or "male".
        accent: a key of ACCENTS.
        split: train, dev or test; a speaker is in one of them alone.
        voice: espeak-ng's name of the voice.
        vocal_tract: factor on all formants; above 1 for a shorter vocal tract.
        manner: how the speaker speaks without emotion.
    """

    speaker_id: str
    sex: str
    accent: str
    split: str
    voice: str
    vocal_tract: float
    manner: Manner


def make_speakers(num_speakers: Mapping[str, int], seed: int) -> list[Speaker]:
    """Make the speakers of a corpus.

    Args:
        num_speakers: how many of each accent and sex in each split.
        seed: the corpus's seed.

    Example:
        >>> speakers = make_speakers({"train": 2, "dev": 0, "test": 1}, seed=0)
        >>> len(speakers), speakers[0].speaker_id
        (18, 'american-female-00')
    """
    speakers: list[Speaker] = []
    for accent, language in ACCENTS.items():
        for sex, variants in VARIANTS.items():
            places = [(split, at) for split in SPLITS for at in range(num_speakers[split])]
            for number, (split, at) in enumerate(places):
                rng = np.random.default_rng([seed, len(speakers)])
                speakers.append(
                    Speaker(
                        speaker_id=f"{accent}-{sex}-{number:02d}",
                        sex=sex,
                        accent=accent,
                        split=split,
                        voice=f"{language}+{variants[at % len(variants)]}",
                        vocal_tract=float(rng.uniform(0.94, 1.06)),
                        manner=_draw_manner(rng),
                    )
                )
    return speakers


def _draw_manner(rng: np.random.Generator) -> Manner:
    return Manner(
        rate_wpm=float(170 * 2 ** rng.normal(0, 0.06)),
        pitch_semitones=float(rng.normal(0, 0.8)),
        level_dbfs=float(rng.normal(-28, 1.2)),
    )
