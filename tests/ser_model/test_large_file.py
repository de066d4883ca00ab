"""Large files: whole or not at all, on every kind of storage."""

from pathlib import Path

import pytest

from ser_model import storage
from ser_model.large_file import write_large


def test_pieces_become_one_file_when_all_are_there(folder: str) -> None:
    uri = storage.join(folder, "new", "large file")
    with write_large(uri) as file:
        file.write(b"first, ")
        assert not storage.exists(uri)
        file.write(b"second")
    assert storage.read_bytes(uri) == b"first, second"
    assert storage.list_names(storage.parent(uri)) == ["large file"]


def test_it_replaces_what_was_there_only_when_it_is_whole(folder: str) -> None:
    uri = storage.join(folder, "large")
    storage.write_atomic(uri, b"old")
    with pytest.raises(RuntimeError), write_large(uri) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert storage.read_bytes(uri) == b"old"
    with write_large(uri) as file:
        file.write(b"new")
    assert storage.read_bytes(uri) == b"new"


def test_nothing_is_left_behind(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for uri in (str(tmp_path / "local"), f"{memory}/remote"):
        with pytest.raises(RuntimeError), write_large(uri):
            raise RuntimeError
        with write_large(uri) as file:
            file.write(b"x" * 100)
    assert [entry.name for entry in tmp_path.iterdir()] == ["local"]


def test_a_large_file_goes_to_s3_in_parts(s3: str) -> None:
    with write_large(f"{s3}/large") as file:
        for number in range(3):
            file.write(bytes([number]) * (40 << 20))
    with storage.open_binary(f"{s3}/large") as file:
        assert file.seek(0, 2) == 120 << 20
        file.seek((80 << 20) - 1)
        assert file.read(2) == b"\1\2"
