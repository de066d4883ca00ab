from __future__ import annotations

import re
from dataclasses import replace

import pyarrow as pa
import pytest

from orchestration.readers.expectation import Expectation

MANIFEST = pa.table(
    {
        "recording": ["a", "b", "c", "d"],
        "speaker_id": ["1", "1", "2", None],
        "channel": ["speech", "speech", "song", None],
    }
)
ALL = Expectation(description="four", num_segments=4, source="a paper")
SPEECH = Expectation(
    description="four, speech",
    num_segments=2,
    num_speakers=1,
    source="a paper",
    column="channel",
    value="speech",
)


@pytest.mark.parametrize(
    "expectation",
    [
        ALL,
        replace(ALL, num_speakers=2),
        SPEECH,
        replace(SPEECH, value="whispers", optional=True),
        replace(SPEECH, column="session", optional=True),
    ],
)
def test_what_is_as_expected(expectation: Expectation) -> None:
    assert expectation.mismatch(MANIFEST) is None


@pytest.mark.parametrize(
    ("expectation", "numbers"),
    [
        (replace(ALL, num_segments=5), "expected 5 segments \\(four; a paper\\), found 4:"),
        (replace(ALL, num_speakers=3), "expected 4 segments by 3 speakers .*, found 4 by 2:"),
        (replace(SPEECH, num_segments=3, optional=True), "3 segments by 1 .*, found 2 by 1:"),
        (replace(SPEECH, value="whispers"), "expected 2 segments by 1 .*, found 0 by 0:"),
        (replace(SPEECH, column="session"), "found 0 by 0:"),
    ],
)
def test_what_differs(expectation: Expectation, numbers: str) -> None:
    sentence = expectation.mismatch(MANIFEST)
    assert sentence is not None
    assert re.search(numbers, sentence)
