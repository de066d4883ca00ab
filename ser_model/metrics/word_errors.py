"""How far transcripts are from reference transcripts: the word error rate, and what it counts.

Not imported by the other metrics: who audits emotion needs no jiwer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

NORMALISATION = "lower case, punctuation removed"
"""What is done to both transcripts before they are compared, for reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordErrors:
    """The counts of an alignment of words with the fewest errors; those of many texts add up.

    Attributes:
        num_texts: pairs of reference and transcript.
        num_words: words of the references.
        num_substitutions: words that stand for another one.
        num_deletions: words of the reference that are missing.
        num_insertions: words that the reference does not have.
    """

    num_texts: int = 0
    num_words: int = 0
    num_substitutions: int = 0
    num_deletions: int = 0
    num_insertions: int = 0

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            num_texts=self.num_texts + other.num_texts,
            num_words=self.num_words + other.num_words,
            num_substitutions=self.num_substitutions + other.num_substitutions,
            num_deletions=self.num_deletions + other.num_deletions,
            num_insertions=self.num_insertions + other.num_insertions,
        )

    @property
    def word_error_rate(self) -> float:
        """(substitutions + deletions + insertions) / words of the references (WER).

        0 or more, also above 1; NaN where the references have no words. Over many texts it is that
        of the whole corpus, not a mean of rates.
        """
        if self.num_words == 0:
            return float("nan")
        num_errors = self.num_substitutions + self.num_deletions + self.num_insertions
        return num_errors / self.num_words


def count_word_errors(references: Sequence[str], transcripts: Sequence[str]) -> WordErrors:
    """Align transcripts with references word by word, and count the errors.

    Both are normalised first; see `normalised`.

    Args:
        references: what was said; empty ones count what the transcript inserts.
        transcripts: as many.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> errors = count_word_errors(["Where is Anna?"], ["where was anna now"])
        >>> errors.num_substitutions, errors.num_deletions, errors.num_insertions
        (1, 0, 1)
        >>> round(errors.word_error_rate, 3)
        0.667
    """
    if len(references) != len(transcripts):
        raise ValueError(f"{len(references)} references and {len(transcripts)} transcripts")
    if not references:
        return WordErrors()
    counts = jiwer.process_words(
        [normalised(text) for text in references],
        [normalised(text) for text in transcripts],
    )
    return WordErrors(
        num_texts=len(references),
        num_words=counts.hits + counts.substitutions + counts.deletions,
        num_substitutions=counts.substitutions,
        num_deletions=counts.deletions,
        num_insertions=counts.insertions,
    )


def normalised(text: str) -> str:
    """Return a text in lower case, without punctuation (Unicode's categories P*), single-spaced.

    Nothing else is done: "20" is not "twenty".

    Example:
        >>> normalised("Don't -- stop!")
        'dont stop'
    """
    kept = [c for c in text.lower() if not unicodedata.category(c).startswith("P")]
    return " ".join("".join(kept).split())
