import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_model.metrics.word_errors import WordErrors, count_word_errors

TEXTS = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)


def count(pairs: list[tuple[str, str]]) -> WordErrors:
    references, transcripts = zip(*pairs, strict=True)
    return count_word_errors(references, transcripts)


def fewest_errors(reference: str, transcript: str) -> int:
    """Levenshtein's distance of two lists of words, as it is defined."""
    left, right = reference.split(), transcript.split()

    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        substituted = distance(i - 1, j - 1) + (left[i - 1] != right[j - 1])
        return min(substituted, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(left), len(right))


@settings(deadline=None)
@given(PAIRS)
def test_the_errors_are_as_few_as_can_be(pairs: list[tuple[str, str]]) -> None:
    errors = count(pairs)
    num_words = sum(len(reference.split()) for reference, _ in pairs)
    num_errors = errors.num_substitutions + errors.num_deletions + errors.num_insertions
    assert num_errors == sum(fewest_errors(*pair) for pair in pairs)
    assert (errors.num_texts, errors.num_words) == (len(pairs), num_words)
    num_transcribed = sum(len(transcript.split()) for _, transcript in pairs)
    assert num_words - errors.num_deletions + errors.num_insertions == num_transcribed
    if num_words:
        assert errors.word_error_rate == pytest.approx(num_errors / num_words)


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_counts_of_parts_add_up(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    assert count(first) + count(second) == count(first + second)


@pytest.mark.parametrize(
    ("reference", "transcript"),
    [
        ("Don't — stop!", "DONT  stop"),
        ("¿Dónde está?", "dónde está"),
        ("one\ntwo\tthree ", "one two three"),
        ("...", ""),
        ("", " "),
    ],
)
def test_case_punctuation_and_spaces_are_no_errors(reference: str, transcript: str) -> None:
    errors = count_word_errors([reference], [transcript])
    assert (errors.num_substitutions, errors.num_deletions, errors.num_insertions) == (0, 0, 0)


def test_without_words_there_is_no_rate() -> None:
    errors = count_word_errors(["", "!"], ["so many words", ""])
    assert errors == WordErrors(num_texts=2, num_insertions=3)
    assert math.isnan(errors.word_error_rate)
    assert count_word_errors([], []) == WordErrors()


def test_each_reference_needs_a_transcript() -> None:
    with pytest.raises(ValueError, match="1 references and 2 transcripts"):
        count_word_errors(["a"], ["a", "b"])
