"""What other tools' annotations are called here, and how they become a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

_NAMES = {
    "speaker": "speaker_id",
    "text": "transcript",
    "transcription": "transcript",
    "sentence": "transcript",
}
_SEXES = {"f": "female", "female": "female", "m": "male", "male": "male", "other": "other"}


def column_name(annotation: str) -> str:
    """Return the manifest's column for an annotation; those of no known name keep theirs.

    >>> column_name("speaker"), column_name("valence"), column_name("mood")
    ('speaker_id', 'valence', 'mood')
    """
    return _NAMES.get(annotation, annotation)


def sex_of(gender: object) -> str | None:
    """Return the sex that an annotation of gender says; None where it says none.

    >>> sex_of("F"), sex_of("male"), sex_of("child")
    ('female', 'male', None)
    """
    return _SEXES.get(str(gender).lower())


def table_of(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Return rows as a table that has every column of any row; missing values are null.

    A column whose values are of several kinds, which no table can hold, becomes text.

    >>> table_of([{"a": 1}, {"a": "x", "b": 2.5}]).to_pylist()
    [{'a': '1', 'b': None}, {'a': 'x', 'b': 2.5}]
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _array([row.get(name) for row in rows]) for name in names})


def _array(values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
