from pathlib import Path

import pyarrow as pa

from orchestration.demo.held_out import (
    COLUMN,
    KNOWN,
    NEW,
    ONE_IN,
    held_out_sentences,
    hold_out_sentences,
)
from orchestration.demo.sentences import SENTIMENTS, sentences_of
from ser_model.manifest import read_manifest, write_manifest


def test_each_sentiment_loses_as_many_sentences_and_keeps_most() -> None:
    held_out = set(held_out_sentences())
    for sentiment in SENTIMENTS:
        sentences = set(sentences_of(sentiment))
        assert len(sentences & held_out) == len(sentences) // ONE_IN
    assert len(held_out) == sum(len(sentences_of(sentiment)) // ONE_IN for sentiment in SENTIMENTS)


def test_nothing_of_train_and_dev_is_held_out_and_test_is_whole(tmp_path: Path) -> None:
    sentences = [sentence for sentiment in SENTIMENTS for sentence in sentences_of(sentiment)]
    rows = [
        {
            "segment_id": f"{split}-{number}",
            "recording": f"recordings/{split}.flac",
            "split": split,
            "transcript": sentence,
            "valence": 0.5,
        }
        for split in ("train", "dev", "test")
        for number, sentence in enumerate(sentences)
    ]
    source, output = str(tmp_path / "corpus" / "m.csv"), str(tmp_path / "text" / "m.csv")
    write_manifest(source, pa.Table.from_pylist(rows))
    counts = hold_out_sentences(source, output)
    kept = read_manifest(output).to_pylist()
    assert counts == {"train": 60, "dev": 60, "test": 72}
    assert len(kept) == sum(counts.values())
    held_out = set(held_out_sentences())
    for row in kept:
        assert row[COLUMN] == (NEW if row["transcript"] in held_out else KNOWN)
        assert row["split"] == "test" or row[COLUMN] == KNOWN
        # The file is in another folder, and finds the recordings all the same.
        assert row["recording"] == str(tmp_path / "corpus" / "recordings" / f"{row['split']}.flac")
