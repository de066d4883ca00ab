"""Files of the stores that fsspec knows, with their troubles got over (see retrying.py).

Each function takes a whole URI. `storage` is the way in: it knows local files too.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

from ser_model.remote_file import RemoteFile
from ser_model.retrying import ChangedError, http_status, retry

# What a request may take before it is given up and repeated. A stalled one would hang for ever.
S3_CONNECT_TIMEOUT_S = 10
S3_READ_TIMEOUT_S = 20

S3_CONNECTIONS = 64
"""More than the threads that read at a time, or they would wait for each other."""

S3_TRIES_OF_MANY = 3
"""A listing is a request for each thousand names, a large file one for each of its parts: these are
repeated one by one, for the whole would never be without a failure."""

S3_PARTS_FROM_BYTES = 100 << 20
"""From here on s3fs writes a file in parts."""

_CREATES_IF_ABSENT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
_MEMORY_LOCK = threading.Lock()
_proven_buckets: set[str] = set()


def open_binary(uri: str) -> RemoteFile:
    """Open a file; one request for its size now, one for each block of it later."""
    filesystem, key = _connect(uri)
    num_bytes = retry("open", uri, lambda: _size(filesystem, key))

    def fetch(start: int, end: int) -> bytes:
        return retry("read", uri, lambda: _read_range(filesystem, key, start, end, num_bytes))

    return RemoteFile(num_bytes, fetch)


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Read a whole file in two requests, for its size and its content.

    Raises:
        OSError: the file is larger than `max_bytes`.
    """
    filesystem, key = _connect(uri)

    def read() -> bytes | None:
        num_bytes = _size(filesystem, key)
        if num_bytes > max_bytes:
            return None
        return _read_range(filesystem, key, 0, num_bytes, num_bytes)

    try:
        data = retry("read", uri, read)
    except ChangedError:  # replaced between the two requests: what is there now is as good
        data = retry("read", uri, read)
    if data is None:
        raise OSError(f"{uri} is larger than {max_bytes} bytes")
    return data


def exists(uri: str) -> bool:
    """Tell whether there is a file or folder of this name."""
    filesystem, key = _connect(uri)
    try:
        # Not exists(), which takes every trouble for a No.
        retry("look for", uri, lambda: filesystem.info(key))
    except FileNotFoundError:
        return False
    return True


def list_keys(folder: str) -> list[str]:
    """Return the keys directly below a folder.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    filesystem, key = _connect(folder, tries_per_request=S3_TRIES_OF_MANY)
    found: list[str] = retry("list", folder, lambda: filesystem.ls(key, detail=False))
    return [entry for entry in found if entry.rstrip("/") != key.rstrip("/")]


def list_paths(folder: str) -> list[str]:
    """Return the paths, relative to a folder, of all files below it, at any depth."""
    filesystem, key = _connect(folder, tries_per_request=S3_TRIES_OF_MANY)
    found: list[str] = retry("list", folder, lambda: filesystem.find(key))
    return [entry.removeprefix(key).lstrip("/") for entry in found]


def put(uri: str, data: bytes) -> None:
    """Write a file, or replace the one that is there; readers see one of them whole."""
    filesystem, key = _connect(uri, tries_per_request=_tries(data))
    retry("write", uri, lambda: filesystem.pipe_file(key, data))


def put_file(uri: str, path: Path) -> None:
    """Write the content of a local file of any size; readers see it whole or not at all."""
    filesystem, key = _connect(uri, tries_per_request=S3_TRIES_OF_MANY)
    retry("write", uri, lambda: filesystem.put_file(str(path), key))


def remove(folder: str) -> None:
    """Remove all keys below a folder, if there are any."""
    filesystem, key = _connect(folder)

    def remove_keys() -> None:
        if filesystem.exists(key):
            filesystem.rm(key, recursive=True)

    retry("remove", folder, remove_keys)


def create(uri: str, data: bytes) -> bool:
    """Write a file only where there is none; what is there may be from a lost answer, and ours.

    Returns:
        Whether the file holds `data` now.

    Raises:
        OSError: this kind of store cannot do it in one step, so two writers could overwrite each
            other.
    """
    filesystem, key = _connect(uri, tries_per_request=_tries(data))
    protocol = uri.partition("://")[0]
    if protocol not in _CREATES_IF_ABSENT and not getattr(filesystem, "creates_if_absent", False):
        raise OSError(
            f"{uri}: a store of the kind {protocol}:// cannot create a file only where there is "
            "none, so its writers could overwrite each other; write to a local folder, s3://, "
            "gs:// or abfs://"
        )
    if _put_new(uri, filesystem, key, data):
        if protocol in ("s3", "s3a"):
            _prove(uri, filesystem, key, data)
        return True
    return _holds(uri, data)


def _put_new(uri: str, filesystem: AbstractFileSystem, key: str, data: bytes) -> bool:
    # memory:// looks and writes in two steps; a store does both in one.
    lock = _MEMORY_LOCK if uri.startswith("memory:") else nullcontext()
    try:
        with lock:
            retry("create", uri, lambda: filesystem.pipe_file(key, data, mode="create"))
    except FileExistsError:
        return False
    except OSError as error:
        if http_status(error) == 412:  # some stores do not say which precondition failed
            return False
        raise
    return True


def _prove(uri: str, filesystem: AbstractFileSystem, key: str, data: bytes) -> None:
    """Make sure, once a bucket, that it heeds If-None-Match: not every S3-like store does."""
    bucket = key.partition("/")[0]
    if bucket in _proven_buckets:
        return
    if _put_new(uri, filesystem, key, data):
        raise OSError(
            f"{uri}: this store overwrites a file although it is asked not to (it ignores "
            "If-None-Match), so writers could overwrite each other; write to a store that has "
            "conditional puts, or to a local folder"
        )
    _proven_buckets.add(bucket)


def _holds(uri: str, data: bytes) -> bool:
    filesystem, key = _connect(uri)
    if retry("look for", uri, lambda: _size(filesystem, key)) != len(data):
        return False
    return read_bytes(uri, len(data)) == data


def _size(filesystem: AbstractFileSystem, key: str) -> int:
    info = filesystem.info(key)
    if info["type"] == "directory":
        raise IsADirectoryError("it is a folder")
    if info.get("size") is None:
        raise ValueError("the store does not tell its size")
    return int(info["size"])


def _read_range(
    filesystem: AbstractFileSystem, key: str, start: int, end: int, num_bytes: int
) -> bytes:
    """Read a range of a file of known size; at its end, make sure that nothing follows."""
    if start == end == num_bytes:
        return b""  # no range of an empty file can be asked for
    wanted = end - start
    asked_end = end + 1 if end == num_bytes else end
    data: bytes = filesystem.cat_file(key, start=start, end=asked_end)
    if len(data) == wanted:
        return data
    if _size(filesystem, key) != num_bytes:
        raise ChangedError("its size changed while it was read")
    raise ConnectionError(f"{len(data)} bytes came where {wanted} were asked for")


def _connect(uri: str, *, tries_per_request: int = 1) -> tuple[AbstractFileSystem, str]:
    """Return the filesystem that holds a file, and the file's key there."""
    protocol = uri.partition("://")[0]
    is_s3 = protocol in ("s3", "s3a")
    options = _s3_options(tries_per_request) if is_s3 else {}
    try:
        # Listings are never cached: other processes write beside us, and a commit must be seen.
        filesystem, key = fsspec.core.url_to_fs(uri, use_listings_cache=False, **options)
    except (ValueError, ImportError) as error:
        raise OSError(f"{uri}: {error}") from error
    if is_s3:
        filesystem.retries = 1  # ours are enough: the library's would multiply them
    return filesystem, key


def _tries(data: bytes) -> int:
    return S3_TRIES_OF_MANY if len(data) >= S3_PARTS_FROM_BYTES else 1


def _s3_options(tries_per_request: int) -> dict[str, Any]:
    """Our settings for S3; what a user has configured for fsspec goes before them."""
    configured = fsspec.config.conf
    theirs = {**configured.get("s3a", {}), **configured.get("s3", {})}.get("config_kwargs", {})
    ours = {
        "connect_timeout": S3_CONNECT_TIMEOUT_S,
        "read_timeout": S3_READ_TIMEOUT_S,
        "max_pool_connections": S3_CONNECTIONS,
        "retries": {"mode": "standard", "total_max_attempts": tries_per_request},
    }
    return {"config_kwargs": {**ours, **theirs}}
