"""Sentiment comes from a column, from another model's run, or from the lexicon."""

import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.text_probe.sentiment import find_sentiment
from orchestration.text_probe.synthesis import MAX_CHARACTERS
from ser_model.schema import ConfigError, ManifestError, RunError
from ser_model.table_files import write_table_file

METADATA = pa.table(
    {
        "segment_id": ["a", "b", "c"],
        "points": ["1.5", None, "nan"],  # as CSV holds numbers
        "words": ["good", "bad", "bad"],
    }
)
SEGMENTS = pa.table(
    {
        "segment_id": ["c", "a", "unknown", "b"],
        "transcript": ["I hate this.", "I love this.", None, " "],
    }
)


def of(option: str | None) -> list[float | None]:
    sentiment = find_sentiment(option, METADATA, "m.csv")
    assert sentiment is not None
    return sentiment.of(SEGMENTS).to_pylist()


def test_a_column() -> None:
    assert of("points") == [None, 1.5, None, None]


def test_a_column_of_words_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"m.csv, row 1: words 'good' is not.*--sentiment"):
        of("words")


def test_the_valence_of_other_predictions(tmp_path: Path) -> None:
    uri = str(tmp_path / "text model.jsonl")
    write_table_file(uri, pa.table({"segment_id": ["b", "a"], "valence": [0.1, 0.9]}))
    assert of(uri) == [None, 0.9, None, 0.1]


def test_neither_column_nor_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'nowhere' is neither a column.*segment_id, points"):
        of("nowhere")
    with pytest.raises(RunError, match="does not exist"):
        of(str(tmp_path / "gone.csv"))


def test_the_lexicon() -> None:
    hate, love, unknown, blank = of(None)
    assert hate < -0.3
    assert love > 0.3
    assert (unknown, blank) == (None, None)


def test_the_lexicon_does_not_read_what_is_not_spoken() -> None:
    sentiment = find_sentiment(None, METADATA, "m.csv")
    long = pa.table({"segment_id": ["x"], "transcript": ["good " * MAX_CHARACTERS]})
    assert sentiment is not None
    assert sentiment.of(long).to_pylist() == [None]
    assert sentiment.facts["language"] == "en"


def test_without_the_extra_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_sentiment(None, METADATA, "m.csv") is None
