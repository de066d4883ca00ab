"""The four emotions that most publications on categories tell apart.

Source: Wagner et al., Dawn of the Transformer Era in Speech Emotion Recognition, table I: anger,
happiness with excitement, sadness and neutral.
"""

from __future__ import annotations

_FOUR = {
    "anger": "anger",
    "excitement": "happiness",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
}


def four_emotions(emotion: str | None) -> str | None:
    """Return the one of the four that an emotion counts as; None for all others.

    >>> four_emotions("excitement"), four_emotions("fear")
    ('happiness', None)
    """
    return None if emotion is None else _FOUR.get(emotion)
