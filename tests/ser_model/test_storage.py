from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from ser_model import storage

ODD_NAMES = ["with space.json", "100%.json", "a%20b.json", "données-日本.json", "a#b+c&d.json"]


def test_what_is_written_is_read(folder: str) -> None:
    uri = storage.join(folder, "deep", "er", "file.bin")
    storage.write_atomic(uri, b"first")
    storage.write_atomic(uri, b"second")
    assert storage.read_bytes(uri) == b"second"
    with storage.open_binary(uri) as file:
        file.seek(3)
        assert file.read() == b"ond"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_taken_literally(folder: str, name: str) -> None:
    uri = storage.join(folder, name)
    storage.write_json(uri, {"name": name})
    assert storage.read_json(uri) == {"name": name}
    assert storage.list_names(folder) == [name]
    assert storage.exists(uri)


def test_only_the_first_creates(folder: str) -> None:
    uri = storage.join(folder, "commits", "0.json")
    assert storage.create_if_absent(uri, b"first")
    assert not storage.create_if_absent(uri, b"second")
    assert storage.read_bytes(uri) == b"first"
    assert storage.list_names(storage.parent(uri)) == ["0.json"]


def test_of_many_at_once_one_creates(folder: str) -> None:
    uri = storage.join(folder, "commit.json")
    won: list[int] = []
    together = threading.Barrier(8)

    def create(writer: int) -> None:
        together.wait()
        if storage.create_if_absent(uri, str(writer).encode()):
            won.append(writer)

    writers = [threading.Thread(target=create, args=(writer,)) for writer in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert storage.read_bytes(uri) == str(won[0]).encode()


def test_a_failed_write_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "run.json")
    storage.write_atomic(uri, b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        storage.write_atomic(uri, b"new")
    with pytest.raises(OSError, match="No space left"):
        storage.create_if_absent(str(tmp_path / "commit.json"), b"new")
    assert storage.read_bytes(uri) == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_what_a_killed_writer_leaves_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / f"{storage.TEMPORARY}0123").write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"whole")
    assert storage.list_names(str(tmp_path)) == ["whole"]
    assert storage.list_files(str(tmp_path)) == ["whole"]


def test_listing(folder: str) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        storage.write_atomic(storage.join(folder, name), b"x")
    assert storage.list_names(folder) == ["a.txt", "b.txt", "sub"]
    assert storage.list_files(folder) == ["a.txt", "b.txt", "sub/c.txt"]
    assert storage.list_names(storage.join(folder, "absent")) == []
    assert storage.list_files(storage.join(folder, "absent")) == []


def test_a_new_file_is_listed_at_once(folder: str) -> None:
    storage.write_atomic(storage.join(folder, "a"), b"x")
    assert storage.list_names(folder) == ["a"]
    storage.write_atomic(storage.join(folder, "b"), b"x")
    assert storage.list_names(folder) == ["a", "b"]


def test_missing_files(folder: str) -> None:
    uri = storage.join(folder, "absent")
    assert not storage.exists(uri)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(uri)
    with pytest.raises(FileNotFoundError):
        storage.open_binary(uri).close()


def test_reads_are_bounded(folder: str) -> None:
    uri = storage.join(folder, "large")
    storage.write_atomic(uri, b"12345")
    assert storage.read_bytes(uri, max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        storage.read_bytes(uri, max_bytes=4)


def test_tables(folder: str) -> None:
    uri = storage.join(folder, "table.parquet")
    table = pa.table({"segment_id": ["a", "b"], "value": [1.5, None]})
    storage.write_table(uri, table)
    assert storage.read_table(uri).equals(table)


def test_json_has_no_nan_and_is_an_object(tmp_path: Path) -> None:
    uri = str(tmp_path / "x.json")
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(uri, {"value": float("nan")})
    storage.write_atomic(uri, b"[1]")
    with pytest.raises(ValueError, match="holds no JSON object"):
        storage.read_json(uri)


def test_an_unknown_scheme_is_an_os_error() -> None:
    with pytest.raises(OSError, match="nope"):
        storage.read_bytes("nope://bucket/file")


@pytest.mark.parametrize(
    ("uri", "folder", "absolute"),
    [
        ("a.wav", "/data", "/data/a.wav"),
        ("./a.wav", "/data", "/data/a.wav"),
        ("../a.wav", "/data/manifests", "/data/a.wav"),
        ("/other/a.wav", "s3://bucket", "/other/a.wav"),
        ("sub//a b.wav", "s3://bucket/m", "s3://bucket/m/sub//a b.wav"),
        ("../../x/a.wav", "s3://bucket/m/n", "s3://bucket/x/a.wav"),
        ("a%20b.wav", "memory://m", "memory://m/a%20b.wav"),
    ],
)
def test_resolve(uri: str, folder: str, absolute: str) -> None:
    assert storage.resolve(uri, folder) == absolute


@pytest.mark.parametrize(
    ("uri", "folder"),
    [("/data/a.wav", "/data/m"), ("s3://bucket/m/a.wav", "s3://bucket/m"), ("s3://b/a", "/data")],
)
def test_relative_is_resolved_to_the_same(uri: str, folder: str) -> None:
    assert storage.resolve(storage.relative(uri, folder), folder) == uri


def test_parts_of_paths() -> None:
    assert storage.parent("memory://a/b") == "memory://a"
    assert storage.parent("/a/b") == "/a"
    assert storage.name("s3://bucket/a/") == "a"
    assert storage.join("memory://", "a") == "memory://a"
