"""How the demo's emotions sound: the rule from arousal, dominance and valence to words and voice.

For each segment a latent point (arousal, dominance, valence) is drawn; let a, d, v be its
distances from the middle, -0.5 to 0.5. A speaker with a rate, pitch and level of their own speaks

    rate          own rate x 2 ** (0.9 a)                  words a minute
    level         own level + 16 a                         dB
    pitch         own pitch + 6 a - 4 d                    semitones
    pauses        40 x (1 - 2 d)                           ms between words
    low shelf     10 d below 500 Hz                        dB, the chest voice of the dominant
    pitch range   50 + 80 v                                espeak-ng's scale, 0 to 99
    high shelf    12 v above 2.5 kHz                       dB, the brightness of a smile

each with some noise, so that the voice tells the emotion only in part. The words follow
valence: a positive sentence above, a negative one below the middle third. The truth of a segment is
the mean of three simulated raters, who hear its latent point with a bias and noise of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestration.demo.sentences import SENTIMENTS
from ser_model.schema import DIMENSIONS

NUM_RATERS = 3
LATENT_SPREAD = 0.22
LATENT_MIXING = np.array([[1.0, 0.0, 0.0], [0.4, 0.9165, 0.0], [0.0, 0.1, 0.995]])
"""Times independent normal numbers, gives arousal and dominance a correlation of .4, as they have
one in rated corpora, and valence one of about .1 with dominance."""
RATER_BIAS = 0.02
RATER_NOISE = 0.08
SENTIMENT_NOISE = 0.08
EMOTION_RADIUS = 0.12
"""Closer than this to the middle of arousal and valence, an emotion is called neutral."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """What a segment means to express, each from 0 to 1."""

    arousal: float
    dominance: float
    valence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a speaker speaks without emotion.

    Attributes:
        rate_wpm: words a minute.
        pitch_semitones: distance from the pitch of the espeak-ng variant.
        level_dbfs: root mean square, in dB below full scale.
    """

    rate_wpm: float
    pitch_semitones: float
    level_dbfs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prosody:
    """How a segment is spoken; units as in the rule above."""

    rate_wpm: float
    level_dbfs: float
    pitch_semitones: float
    pause_ms: float
    low_shelf_db: float
    pitch_range: float
    high_shelf_db: float


def draw_latents(rng: np.random.Generator) -> Latents:
    """Draw what one segment means to express."""
    drawn = 0.5 + LATENT_SPREAD * LATENT_MIXING @ rng.standard_normal(3)
    return Latents(**dict(zip(DIMENSIONS, np.clip(drawn, 0.02, 0.98).tolist(), strict=True)))


def prosody_of(latents: Latents, manner: Manner, rng: np.random.Generator | None) -> Prosody:
    """Apply the rule; without `rng`, without its noise.

    Example:
        >>> calm = Latents(arousal=0.5, dominance=0.5, valence=0.5)
        >>> own = Manner(rate_wpm=170, pitch_semitones=0, level_dbfs=-28)
        >>> prosody_of(calm, own, None).rate_wpm
        170.0
    """
    noise = [0.0] * 7 if rng is None else rng.standard_normal(7).tolist()
    a, d, v = latents.arousal - 0.5, latents.dominance - 0.5, latents.valence - 0.5
    return Prosody(
        rate_wpm=manner.rate_wpm * 2 ** (0.9 * a + 0.05 * noise[0]),
        level_dbfs=manner.level_dbfs + 16 * a + 1.0 * noise[1],
        pitch_semitones=manner.pitch_semitones + 6 * a - 4 * d + 0.4 * noise[2],
        pause_ms=max(0.0, 40 * (1 - 2 * d) + 6 * noise[3]),
        low_shelf_db=10 * d + 0.7 * noise[4],
        pitch_range=50 + 80 * v + 8 * noise[5],
        high_shelf_db=12 * v + 2.0 * noise[6],
    )


def sentiment_of(latents: Latents, rng: np.random.Generator) -> str:
    """Choose the sentiment of the words: the third of the scale in which valence lies."""
    third = int(3 * (latents.valence + SENTIMENT_NOISE * rng.standard_normal()))
    return SENTIMENTS[min(max(third, 0), 2)]


def emotion_of(latents: Latents) -> str:
    """Name the quadrant of arousal and valence.

    Example:
        >>> emotion_of(Latents(arousal=0.9, dominance=0.5, valence=0.1))
        'anger'
    """
    a, v = latents.arousal - 0.5, latents.valence - 0.5
    if np.hypot(a, v) < EMOTION_RADIUS:
        return "neutral"
    if a > 0:
        return "happiness" if v > 0 else "anger"
    return "calm" if v > 0 else "sadness"


def draw_rater_biases(rng: np.random.Generator) -> np.ndarray:
    """Draw how far each rater is off on each dimension: [num_raters, num_dimensions]."""
    return RATER_BIAS * rng.standard_normal((NUM_RATERS, len(DIMENSIONS)))


def rate(latents: Latents, biases: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Return the truth: for each dimension the mean of the raters, each clipped to 0 to 1."""
    point = np.array([getattr(latents, dimension) for dimension in DIMENSIONS])
    ratings = np.clip(point + biases + RATER_NOISE * rng.standard_normal(biases.shape), 0.0, 1.0)
    means = ratings.mean(axis=0).round(4)
    return dict(zip(DIMENSIONS, means.tolist(), strict=True))
