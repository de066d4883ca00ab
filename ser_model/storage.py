"""Files anywhere: plain local paths, and every URI that fsspec knows (s3://, gs://, memory:// ...).

A plain path stays a plain path and is never percent-decoded; a name may hold spaces, "%" or any
script. Whatever is written appears whole or not at all. A missing file is a FileNotFoundError, any
other trouble of disk or network an OSError: the callers know what either means for them.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import threading
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

JSON_MAX_BYTES = 1 << 28
_TEMPORARY = ".tmp-"
_MEMORY_LOCK = threading.Lock()


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
    filesystem, key = _filesystem(uri)
    return cast(BinaryIO, filesystem.open(key, "rb"))


def read_bytes(uri: str, *, max_bytes: int = 1 << 30) -> bytes:
    """Read a whole file.

    Raises:
        OSError: the file is larger than `max_bytes`, or cannot be read.
    """
    path = local_path(uri)
    if path is not None:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        num_bytes = len(data)
    else:
        filesystem, key = _filesystem(uri)
        num_bytes = filesystem.size(key)
        data = cast(bytes, filesystem.cat_file(key)) if num_bytes <= max_bytes else b""
    if num_bytes > max_bytes:
        raise OSError(f"{uri} is larger than {max_bytes} bytes")
    return data


def exists(uri: str) -> bool:
    """Tell whether there is a file or folder of this name."""
    path = local_path(uri)
    if path is not None:
        return path.exists()
    filesystem, key = _filesystem(uri)
    return bool(filesystem.exists(key))


def list_names(folder: str) -> list[str]:
    """Return the sorted names directly below `folder`; none where the folder is absent."""
    path = local_path(folder)
    try:
        if path is not None:
            names = [entry.name for entry in path.iterdir()]
        else:
            filesystem, key = _filesystem(folder)
            found = filesystem.ls(key, detail=False)
            names = [name(entry) for entry in found if entry.rstrip("/") != key.rstrip("/")]
    except FileNotFoundError:
        return []
    return sorted(entry for entry in names if not entry.startswith(_TEMPORARY))


def list_files(folder: str) -> list[str]:
    """Return the sorted paths, relative to `folder`, of all files below it, at any depth."""
    path = local_path(folder)
    if path is not None:
        found = (entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file())
    else:
        filesystem, key = _filesystem(folder)
        found = (entry.removeprefix(key).lstrip("/") for entry in filesystem.find(key))
    return sorted(e for e in found if e and not name(e).startswith(_TEMPORARY))


def write_atomic(uri: str, data: bytes) -> None:
    """Write a file that readers see whole or not at all; replaces what was there.

    Locally a temporary file is renamed; on object stores one put does it.
    """
    path = local_path(uri)
    if path is None:
        filesystem, key = _filesystem(uri)
        filesystem.pipe_file(key, data)
        return
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise


def create_if_absent(uri: str, data: bytes) -> bool:
    """Write a file only where there is none, also when others try at the same moment.

    Returns:
        True for the one writer that created it, False for all others.
    """
    path = local_path(uri)
    if path is not None:
        temporary = _write_temporary(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True
    filesystem, key = _filesystem(uri)
    # memory:// looks and writes in two steps; a store does both in one.
    lock = _MEMORY_LOCK if uri.startswith("memory:") else nullcontext()
    try:
        with lock:
            filesystem.pipe_file(key, data, mode="create")
    except FileExistsError:
        return False
    return True


def write_table(uri: str, table: pa.Table) -> None:
    """Write one Parquet file, atomically."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(uri, buffer.getvalue())


def read_table(uri: str) -> pa.Table:
    """Read one Parquet file."""
    with open_binary(uri) as file:
        return pq.ParquetFile(file).read()


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


def _filesystem(uri: str) -> tuple[Any, str]:
    # Listings are never cached: other processes write beside us, and a commit must be seen.
    try:
        filesystem, key = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise OSError(f"{uri}: {error}") from error
    return filesystem, key


def _write_temporary(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could keep a commit and lose what it names
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
