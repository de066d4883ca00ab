"""The sentences that the demo's speakers say, each with the sentiment of its words."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

SENTIMENTS = ("negative", "neutral", "positive")


@cache
def sentences_of(sentiment: str) -> tuple[str, ...]:
    """Return the sentences of one sentiment, in the order of `sentences.txt`.

    Example:
        >>> sentences_of("positive")[0]
        'We won the match today.'
    """
    text = files("orchestration.demo").joinpath("sentences.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return tuple(sentence for its_sentiment, sentence in rows if its_sentiment == sentiment)
