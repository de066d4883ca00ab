"""MSP-Podcast, releases 1.7 to 1.12: speaking turns of podcasts, rated on 1 to 7.

The release holds Audios/MSP-PODCAST_*.wav and Labels/labels_consensus.csv (labels_concensus.csv in
older releases; or .json), with FileName, EmoClass, EmoAct, EmoDom, EmoVal and, where the labels
lack SpkrID and Gender or Split_Set, Speaker_ids.txt and Partitions.txt; from 1.9 on Transcripts/.
To be asked for at https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html, under a
licence of the University of Texas at Dallas.
Source of the layout: the readme of release 1.12, and public code that reads 1.6, 1.8 and 1.10.
That the lines of Speaker_ids.txt are "FILE; ID" and "Speaker_ID; Male" is taken from such code.

`split` calls every test set test; `split_set` tells test-1, test-2 and test-3 apart. Speakers that
the release does not know are left empty, as is an emotion on which the raters did not agree (X).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from orchestration.readers.expectation import Expectation
from orchestration.readers.four_emotions import four_emotions
from orchestration.readers.source import read_lines, refuse_missing_columns
from ser_model import storage
from ser_model.manifest_checks import to_numbers
from ser_model.schema import ManifestError
from ser_model.table_files import one_line, read_table_file

LAYOUT = "MSP-Podcast: Audios/ with Labels/labels_consensus.csv or .json"
TRUTH_RANGE = (1.0, 7.0)
EXPECTED = (
    Expectation(
        description="MSP-Podcast 1.7, test-1",
        num_segments=12_902,
        num_speakers=60,
        source="Wagner et al. 2023, III-C",
        column="split_set",
        value="test-1",
    ),
)

EMOTIONS = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "O": "other",
    "S": "sadness",
    "U": "surprise",
    "X": None,
}
RATINGS = {"arousal": "EmoAct", "dominance": "EmoDom", "valence": "EmoVal"}
SEX = {"Female": "female", "Male": "male", "Unknown": None}
SPLIT_SETS = {
    "Train": "train",
    "Development": "dev",
    "Validation": "dev",
    "Test1": "test-1",
    "Test2": "test-2",
    "Test3": "test-3",
}
"""What Split_Set says, in the words of publications; older releases have a Validation set."""

_LABELS = re.compile(r"(?P<root>(?:.*/)?)Labels/labels_con[sc]ensus\.(?:csv|json)")
_NUM_TRANSCRIPT_READERS = 16  # of two hundred thousand small files, which may lie in a store

Labels = dict[str, list[str | None]]
"""Columns of the label file, of equal length; no text is empty."""


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether there are consensus labels."""
    return any(_LABELS.fullmatch(file) for file in files)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a speaking turn.

    Raises:
        ManifestError: there are no labels, or a file is broken.
    """
    found = [match for file in files if (match := _LABELS.fullmatch(file))]
    if not found:
        raise ManifestError(f"{source} holds no Labels/labels_consensus.csv or .json")
    # A release keeps the labels of those before it too, deeper in its folders.
    nearest = min(found, key=lambda match: (match.string.count("/"), match.string))
    uri, root = storage.join(source, nearest.string), nearest["root"]
    labels = _read_labels(uri)
    names = [name or "" for name in labels["FileName"]]
    if "" in names:
        raise ManifestError(f"{uri}, row {names.index('') + 1}: FileName is empty")
    below = sorted((f for f in files if f.startswith(root)), key=lambda f: -f.count("/"))
    _complete(labels, source, root, below)

    emotions = _translated(uri, "EmoClass", labels, EMOTIONS)
    split_sets = _translated(uri, "Split_Set", labels, SPLIT_SETS)
    columns = {
        "segment_id": [name.removesuffix(".wav") for name in names],
        "recording": _recordings(names, root, below),
        "speaker_id": [None if s == "Unknown" else s for s in labels["SpkrID"]],
        "sex": _translated(uri, "Gender", labels, SEX),
        "language": ["eng"] * len(names),
        "split": [s and s.partition("-")[0] for s in split_sets],
        "split_set": split_sets,
        "transcript": _transcripts(names, source, below),
        "emotion": emotions,
        "emotion_4": [four_emotions(emotion) for emotion in emotions],
    }
    table = pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})
    for dimension, column in RATINGS.items():
        means = pa.chunked_array([labels[column]], pa.string())
        table = table.append_column(dimension, to_numbers(uri, column, means))
    return table


def _read_labels(uri: str) -> Labels:
    if uri.endswith(".json"):
        try:
            by_name = json.loads("\n".join(read_lines(uri)))
            rows = [{"FileName": name, **labels} for name, labels in by_name.items()]
        except (ValueError, AttributeError, TypeError) as error:
            raise ManifestError(
                f"{uri} is no JSON of labels by file name: {one_line(error)}"
            ) from error
        table = pa.table({c: [_text(row.get(c)) for row in rows] for c in _columns(rows)})
    else:
        table = read_table_file(uri)
    refuse_missing_columns(uri, table, "FileName", "EmoClass", *RATINGS.values())
    return {c: [_text(value) for value in table[c].to_pylist()] for c in table.column_names}


def _columns(rows: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _text(value: object) -> str | None:
    """Return a field as text without blanks around it; None where nothing is left."""
    return None if value is None else str(value).strip() or None


def _complete(labels: Labels, source: str, root: str, files: Sequence[str]) -> None:
    """Add the columns that a label file may leave to files of their own."""
    names = labels["FileName"]
    if "Split_Set" not in labels:
        pairs = _pairs(source, root, files, "Partitions.txt", "Partition.txt")
        set_of = {name: split_set for split_set, name in pairs}
        labels["Split_Set"] = [set_of.get(name or "") for name in names]
    if "SpkrID" not in labels or "Gender" not in labels:
        said_of = dict(_pairs(source, root, files, "Speaker_ids.txt"))
        ids = [said_of.get(name or "") for name in names]
        labels.setdefault("SpkrID", ids)
        labels.setdefault("Gender", [said_of.get(f"Speaker_{i}") for i in labels["SpkrID"]])


def _pairs(source: str, root: str, files: Sequence[str], *names: str) -> Iterator[tuple[str, str]]:
    """Read the lines "A; B" of the first of these files that is there; others say nothing."""
    file = next((root + name for name in names if root + name in files), None)
    if file is None:
        return
    for line in read_lines(storage.join(source, file)):
        first, separator, second = line.partition(";")
        if separator and first.strip() and second.strip(" ;\t"):
            yield first.strip(), second.strip(" ;\t")


def _translated(
    uri: str, column: str, labels: Labels, words: Mapping[str, str | None]
) -> list[str | None]:
    for row, value in enumerate(labels[column], start=1):
        if value is not None and value not in words:
            raise ManifestError(
                f"{uri}, row {row}: {column} {value!r} is not one of {', '.join(words)}"
            )
    return [None if value is None else words[value] for value in labels[column]]


def _recordings(names: Sequence[str], root: str, files: Sequence[str]) -> list[str]:
    """Find the recordings by name: their folder is called Audios in some releases, Audio in others.

    `files` come deepest first, so that the nearest of one name counts.
    """
    nearest = {storage.name(file): file for file in files}
    return [nearest.get(name, f"{root}Audios/{name}") for name in names]


def _transcripts(names: Sequence[str], source: str, files: Sequence[str]) -> list[str | None]:
    file_of = {
        storage.name(file).removesuffix(".txt"): storage.join(source, file)
        for file in files
        if file.endswith(".txt") and storage.name(storage.parent(file)) == "Transcripts"
    }
    uris = [file_of.get(name.removesuffix(".wav")) for name in names]
    with ThreadPoolExecutor(_NUM_TRANSCRIPT_READERS) as pool:
        return list(pool.map(_transcript, uris))


def _transcript(uri: str | None) -> str | None:
    return None if uri is None else _text(" ".join(read_lines(uri, errors="replace")))
