"""Files anywhere: plain local paths, and every URI that fsspec knows (s3://, gs://, memory:// ...).

A plain path stays a plain path and is never percent-decoded; a name may hold spaces, "%" or any
script. Whatever is written appears whole or not at all. A missing file is a FileNotFoundError, any
other trouble of disk or network an OSError: the callers know what either means for them. Trouble of
an object store that may pass is got over here, and becomes a StorageError only where it lasts
longer than the deadline; trouble of a local disk is not tried again.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ser_model import object_store
from ser_model.retrying import StorageError, set_deadline

__all__ = [
    "StorageError",
    "create_if_absent",
    "exists",
    "is_absolute",
    "join",
    "list_files",
    "list_names",
    "local_path",
    "name",
    "open_binary",
    "parent",
    "read_bytes",
    "read_json",
    "read_table",
    "relative",
    "remove_folder",
    "resolve",
    "set_deadline",
    "to_json_bytes",
    "write_atomic",
    "write_json",
    "write_table",
    "write_tables",
]

JSON_MAX_BYTES = 1 << 28
TEMPORARY = ".tmp-"
"""How the names of files begin that are not whole yet; listings pass over them."""


def join(base: str, *parts: str) -> str:
    """Return the path of `parts` below `base`.

    >>> join("s3://bucket/runs", "data", "a b.parquet")
    's3://bucket/runs/data/a b.parquet'
    """
    joined = base
    for part in parts:
        joined = f"{joined}{part}" if joined.endswith("/") or not joined else f"{joined}/{part}"
    return joined


def parent(uri: str) -> str:
    """Return the folder that holds `uri`.

    >>> parent("s3://bucket/runs/run.json"), parent("manifest.csv")
    ('s3://bucket/runs', '.')
    """
    if local_path(uri) is not None and "://" not in uri:
        return str(Path(uri).parent)
    scheme, _, path = uri.partition("://")
    return f"{scheme}://{path.rstrip('/').rpartition('/')[0]}"


def name(uri: str) -> str:
    """Return the last part of a path.

    >>> name("s3://bucket/runs/run.json")
    'run.json'
    """
    return uri.rstrip("/").rpartition("/")[2]


def is_absolute(uri: str) -> bool:
    """Tell whether `uri` means the same file wherever it is written."""
    return "://" in uri or uri.startswith("/")


def absolute(uri: str) -> str:
    """Return a path that means the same in every process, whatever folder it runs in.

    >>> absolute("s3://bucket/runs"), absolute("/data/runs")
    ('s3://bucket/runs', '/data/runs')
    """
    return uri if is_absolute(uri) else str(Path(uri).absolute())


def resolve(uri: str, folder: str) -> str:
    """Return the absolute path of a file that is written relative to `folder`.

    >>> resolve("../audio/a.flac", "s3://bucket/manifests")
    's3://bucket/audio/a.flac'
    >>> resolve("gs://other/a.flac", "s3://bucket/manifests")
    'gs://other/a.flac'
    """
    if is_absolute(uri):
        return uri
    while uri.startswith("./"):
        uri = uri[2:]
    if ".." not in uri.split("/"):
        return join(folder, uri)
    # An object store has no "..": it would be a part of the name.
    scheme, separator, path = join(folder, uri).rpartition("://")
    return f"{scheme}{separator}{posixpath.normpath(path)}"


def relative(uri: str, folder: str) -> str:
    """Return how a file is written in a table in `folder`: relative where that is possible.

    >>> relative("/data/audio/a.flac", "/data/manifests")
    '../audio/a.flac'
    >>> relative("s3://bucket/a.flac", "/data/manifests")
    's3://bucket/a.flac'
    """
    path, start_path = local_path(uri), local_path(folder)
    if path is not None and start_path is not None:
        return os.path.relpath(path, start_path)
    start = folder if folder.endswith("/") else f"{folder}/"
    return uri.removeprefix(start)


def local_path(uri: str) -> Path | None:
    """Return the path of a local file (plain or file://), None for everything else."""
    if "://" not in uri:
        return Path(uri)
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None


def open_binary(uri: str) -> BinaryIO:
    """Open a file for reading; the result is seekable and a context manager."""
    path = local_path(uri)
    if path is not None:
        return path.open("rb")
    return cast(BinaryIO, object_store.open_binary(uri))


def read_bytes(uri: str, *, max_bytes: int = 1 << 30) -> bytes:
    """Read a whole file.

    Raises:
        OSError: the file is larger than `max_bytes`, or cannot be read.
    """
    path = local_path(uri)
    if path is None:
        return object_store.read_bytes(uri, max_bytes)
    with path.open("rb") as file:
        # Not max_bytes + 1 at once: Python makes room for all that it is asked for.
        num_bytes = min(os.fstat(file.fileno()).st_size, max_bytes)
        data = file.read(num_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(f"{uri} is larger than {max_bytes} bytes")
    return data


def exists(uri: str) -> bool:
    """Tell whether there is a file or folder of this name."""
    path = local_path(uri)
    return object_store.exists(uri) if path is None else path.exists()


def list_names(folder: str) -> list[str]:
    """Return the sorted names directly below `folder`; none where the folder is absent."""
    path = local_path(folder)
    try:
        if path is None:
            names = [name(key) for key in object_store.list_keys(folder)]
        else:
            names = [entry.name for entry in path.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(entry for entry in names if not entry.startswith(TEMPORARY))


def list_files(folder: str) -> list[str]:
    """Return the sorted paths, relative to `folder`, of all files below it, at any depth."""
    path = local_path(folder)
    if path is None:
        found = object_store.list_paths(folder)
    else:
        found = [f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()]
    return sorted(e for e in found if e and not name(e).startswith(TEMPORARY))


def write_atomic(uri: str, data: bytes) -> None:
    """Write a file that readers see whole or not at all; replaces what was there.

    Locally a temporary file is renamed; on object stores one put does it.
    """
    path = local_path(uri)
    if path is None:
        object_store.put(uri, data)
        return
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise


def create_if_absent(uri: str, data: bytes) -> bool:
    """Write a file only where there is none, also when others try at the same moment.

    A store's answer can be lost, and the same put, repeated, then finds its own file. So what is
    there is compared: whoever must know that it was the one puts a name of its own into `data`.

    Returns:
        Whether the file holds `data` now; False: somebody else's is there, and stays.

    Raises:
        OSError: also where a kind of store cannot create in one step.
    """
    path = local_path(uri)
    if path is None:
        return object_store.create(uri, data)
    temporary = _write_temporary(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    finally:
        temporary.unlink()
    return True


def remove_folder(folder: str) -> None:
    """Remove a folder and all that is in it, if it is there."""
    path = local_path(folder)
    if path is None:
        object_store.remove(folder)
    elif path.exists():
        shutil.rmtree(path)


def write_table(uri: str, table: pa.Table) -> None:
    """Write one Parquet file, atomically."""
    write_tables(uri, table.schema, [table])


def write_tables(uri: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema into one Parquet file, atomically; one is in memory at a time."""
    buffer = io.BytesIO()
    # Numbers are hardly ever repeated: looking for it takes most of the time of embeddings.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=texts) as writer:
        for table in tables:
            writer.write_table(table)
    write_atomic(uri, buffer.getvalue())


def read_table(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file, or some of its columns."""
    with open_binary(uri) as file:
        return pq.ParquetFile(file).read(columns)


def to_json_bytes(content: Mapping[str, object]) -> bytes:
    """Return JSON as Serval writes it: sorted, indented, in UTF-8, one final newline.

    >>> to_json_bytes({"b": 1, "a": 2}).decode().split()
    ['{', '"a":', '2,', '"b":', '1', '}']

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say; write None instead.
    """
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def write_json(uri: str, content: Mapping[str, object]) -> None:
    """Write a JSON object, atomically."""
    write_atomic(uri, to_json_bytes(content))


def read_json(uri: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the file is not JSON, or not an object.
    """
    content = json.loads(read_bytes(uri, max_bytes=JSON_MAX_BYTES))
    if not isinstance(content, dict):
        raise ValueError(f"{uri} holds no JSON object")
    return content


def _write_temporary(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could keep a commit and lose what it names
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
