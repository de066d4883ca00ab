"""A dataset of the Hugging Face hub, as Parquet files with a column `audio` {bytes, path}.

Obtain its Parquet files, for example with `hf download --repo-type dataset ORG/NAME`; its card
names the licence. Source: the features Audio and ClassLabel of the library datasets 5.2, which it
writes into the schema's metadata.

The audio stays where it is: `serval score` reads such a file as it is. So this reader makes no
manifest of recordings but the metadata of the same segments, for `serval audit --metadata`, under
the ids that scoring gives them: the column `segment_id`, or the path of each audio.

Classes are written by name. speaker becomes speaker_id; text, transcription and sentence become
transcript; gender is kept, and gives sex. A file or folder named train, validation or test gives
split. Columns of lists, structures and bytes are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.parquet_shards import has_audio_column, with_segment_id
from orchestration.readers.annotations import column_name, sex_of
from orchestration.readers.source import folder_of, with_extension
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import one_line

LAYOUT = "Parquet files with a column audio, as on the Hugging Face hub"

_SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
_SPLIT = re.compile(rf"(?:^|/)({'|'.join(_SPLITS)})(?:[-._/]|$)")


def matches(source: str, files: Sequence[str]) -> bool:
    """Tell whether all Parquet files hold audio."""
    uris = _parquet_files(source, files)
    return bool(uris) and all(has_audio_column(uri) for uri in uris)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the metadata: one row a segment, and no recording.

    Raises:
        ManifestError: a file is broken, or its rows cannot be told apart.
    """
    uris = _parquet_files(source, files)
    if not uris:
        raise ManifestError(f"{source} holds no .parquet file")
    folder = folder_of(source, files)
    tables = [_metadata(uri, storage.relative(uri, folder)) for uri in uris]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ManifestError(
            f"{source}: its files do not fit together: {one_line(error)}"
        ) from error


def _parquet_files(source: str, files: Sequence[str]) -> list[str]:
    if files:
        return [storage.join(source, name) for name in with_extension(files, ".parquet")]
    return with_extension([source], ".parquet")


def _metadata(uri: str, path: str) -> pa.Table:
    try:
        with storage.open_binary(uri) as opened:
            file = pq.ParquetFile(opened)
            kept = [field.name for field in file.schema_arrow if _is_metadata(field.type)]
            ids = [] if "segment_id" in kept else ["audio.path"]
            table = with_segment_id(uri, file.read(columns=[*kept, *ids]))
            classes = _classes(uri, file.schema_arrow)
    except (OSError, pa.ArrowException) as error:
        raise ManifestError(f"{uri} is not valid parquet: {one_line(error)}") from error
    columns = {"segment_id": table["segment_id"].combine_chunks()}
    for name in (name for name in kept if name != "segment_id"):
        values = _named(uri, name, table[name], classes[name]) if name in classes else table[name]
        columns[column_name(name)] = values
    if "gender" in columns and "sex" not in columns:
        sexes = [sex_of(gender) for gender in columns["gender"].to_pylist()]
        columns["sex"] = pa.array(sexes, pa.string())
    split = _SPLIT.search(path)
    if "split" not in columns and split is not None:
        columns["split"] = pa.array([_SPLITS[split[1]]] * len(table))
    return pa.table(columns)


def _is_metadata(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    )


def _classes(uri: str, schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes, of the columns that are of classes."""
    try:
        noted: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{uri}: the metadata 'huggingface' are no JSON: {error}") from error
    info = noted.get("info") if isinstance(noted, Mapping) else None
    features = info.get("features") if isinstance(info, Mapping) else None
    return {
        name: [str(of_class) for of_class in feature["names"]]
        for name, feature in (features.items() if isinstance(features, Mapping) else ())
        if isinstance(feature, Mapping)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def _named(uri: str, column: str, classes: pa.ChunkedArray, names: Sequence[str]) -> pa.Array:
    """Return classes by name; -1 means that a row has none."""
    named: list[str | None] = []
    for row, number in enumerate(classes.to_pylist(), start=1):
        if number is not None and not (isinstance(number, int) and -1 <= number < len(names)):
            raise ManifestError(f"{uri}, row {row}: {column} {number!r} is none of its classes")
        named.append(None if number is None or number == -1 else names[number])
    return pa.array(named, pa.string())
