"""Every storage function, on a store that fails as it is told, and on S3 behind a proxy."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chaos_proxy import Chaos
from faulty import Fault, Faults, FaultyFileSystem

from ser_model import object_store, storage
from ser_model.audio import read_segments
from ser_model.remote_file import BLOCK_BYTES
from ser_model.retrying import ChangedError
from ser_model.schema import Segment
from ser_model.storage import StorageError

TABLE = pa.table({"segment_id": ["a", "b"]})
KINDS = ("info", "list", "read", "put", "create")


def read_opened(folder: str) -> bytes:
    with storage.open_binary(storage.join(folder, "there")) as file:
        return file.read()


def write_and_read(folder: str) -> bytes:
    storage.write_atomic(storage.join(folder, "new"), b"new")
    return storage.read_bytes(storage.join(folder, "new"))


def create_and_read(folder: str) -> tuple[bool, bytes]:
    uri = storage.join(folder, "commit.json")
    return storage.create_if_absent(uri, b"ours"), storage.read_bytes(uri)


def write_and_read_table(folder: str) -> pa.Table:
    storage.write_table(storage.join(folder, "t.parquet"), TABLE)
    return storage.read_table(storage.join(folder, "t.parquet"))


def write_and_read_json(folder: str) -> dict[str, Any]:
    storage.write_json(storage.join(folder, "x.json"), {"a": 1})
    return storage.read_json(storage.join(folder, "x.json"))


FUNCTIONS: dict[Callable[[str], Any], Any] = {
    lambda folder: storage.read_bytes(storage.join(folder, "there")): b"0123456789",
    read_opened: b"0123456789",
    lambda folder: storage.exists(storage.join(folder, "there")): True,
    lambda folder: storage.exists(storage.join(folder, "absent")): False,
    storage.list_names: ["sub", "there"],
    storage.list_files: ["sub/file", "there"],
    lambda folder: storage.create_if_absent(storage.join(folder, "there"), b"other"): False,
    create_and_read: (True, b"ours"),
    write_and_read: b"new",
    write_and_read_table: TABLE,
    write_and_read_json: {"a": 1},
}
every_function = pytest.mark.parametrize(
    ("function", "expected"),
    FUNCTIONS.items(),
    ids=[
        "read_bytes",
        "open_binary",
        "exists",
        "exists_not",
        "list_names",
        "list_files",
        "create_where_another_is",
        "create_if_absent",
        "write_atomic",
        "table",
        "json",
    ],
)


def fill(folder: str) -> None:
    storage.write_atomic(storage.join(folder, "there"), b"0123456789")
    storage.write_atomic(storage.join(folder, "sub", "file"), b"x")


@every_function
@pytest.mark.parametrize(
    ("effect", "when"),
    [
        ("os_error", "before"),
        ("timeout", "before"),
        ("reset", "before"),
        ("reset", "after"),
        ("truncate", "before"),
        ("slow", "before"),
    ],
)
def test_trouble_that_passes_is_not_seen(
    faults: Faults, function: Callable[[str], Any], expected: object, effect: Any, when: Any
) -> None:
    fill(faults.uri)
    faults.plan(
        *(
            Fault(effect=effect, operation=kind, when=when, first=1, last=2, delay_s=0.01)
            for kind in KINDS
        )
    )
    assert function(faults.uri) == expected
    num_tries = Counter(operation.kind for operation in faults.operations())
    nothing_to_lose = when == "after" and num_tries == {"info": 1}  # an error has no answer
    if effect not in ("truncate", "slow") and not nothing_to_lose:
        assert max(num_tries.values()) >= 3  # two failures and what succeeded
    elif effect == "truncate" and "read" in num_tries:
        assert num_tries["read"] >= 3


@every_function
def test_trouble_that_lasts_ends_at_the_deadline(
    faults: Faults, function: Callable[[str], Any], expected: object, short_deadline: None
) -> None:
    faults.plan(Fault(effect="timeout"))
    with pytest.raises(StorageError, match=r"could not .* it in .* tries \(last TimeoutError"):
        function(faults.uri)


@pytest.mark.parametrize("function", [storage.read_bytes, storage.open_binary])
def test_what_is_missing_is_looked_for_once(
    faults: Faults, function: Callable[[str], object]
) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        function(storage.join(faults.uri, "absent"))
    assert [operation.kind for operation in faults.operations()] == ["info"]
    assert not storage.exists(storage.join(faults.uri, "absent"))
    assert len(faults.operations()) == 2
    assert storage.list_names(storage.join(faults.uri, "absent")) == []
    assert len(faults.operations()) == 3


def test_a_create_whose_answer_is_lost_is_ours(faults: Faults) -> None:
    uri = storage.join(faults.uri, "commit.json")
    faults.plan(Fault(effect="reset", operation="create", when="after", first=1, last=1))
    assert storage.create_if_absent(uri, b"ours")
    assert not storage.create_if_absent(uri, b"their")
    assert not storage.create_if_absent(uri, b"same length?"[:4])
    assert storage.read_bytes(uri) == b"ours"


def test_a_create_that_failed_while_another_succeeded_is_theirs(faults: Faults) -> None:
    uri = storage.join(faults.uri, "commit.json")
    storage.write_atomic(uri, b"them")
    faults.plan(Fault(effect="reset", operation="create", first=1, last=1))
    assert not storage.create_if_absent(uri, b"ours")
    assert storage.read_bytes(uri) == b"them"


def test_a_store_that_cannot_create_in_one_step_is_refused(tmp_path: Path) -> None:
    uri = f"local://{tmp_path}/commit.json"
    with pytest.raises(OSError, match="cannot create a file only where there is none"):
        storage.create_if_absent(uri, b"ours")
    assert list(tmp_path.iterdir()) == []


def test_local_trouble_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num_tries = 0

    def broken_disk(descriptor: int) -> None:
        nonlocal num_tries
        num_tries += 1
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", broken_disk)
    for write in (storage.write_atomic, storage.create_if_absent):
        with pytest.raises(OSError, match="Input/output error"):
            write(str(tmp_path / "file"), b"x")
    assert num_tries == 2


def test_a_file_that_changes_while_it_is_read_is_an_error(faults: Faults) -> None:
    uri = storage.join(faults.uri, "file")
    for later in (b"grown" * 1000, b"cut"):
        storage.write_atomic(uri, b"first content")
        with storage.open_binary(uri) as file:
            storage.write_atomic(uri, later)
            with pytest.raises(ChangedError, match="size changed"):
                file.read()


def test_a_file_replaced_between_two_requests_is_read_as_it_is_now(
    faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = storage.join(faults.uri, "run.json")
    storage.write_atomic(uri, b"running")
    read = FaultyFileSystem.cat_file

    def replaced_first(self: FaultyFileSystem, path: str, **options: Any) -> bytes:
        monkeypatch.setattr(FaultyFileSystem, "cat_file", read)
        storage.write_atomic(uri, b"complete, and longer")
        return read(self, path, **options)

    monkeypatch.setattr(FaultyFileSystem, "cat_file", replaced_first)
    assert storage.read_bytes(uri) == b"complete, and longer"


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_audio_is_one_open_and_each_byte_once(
    faults: Faults, write_recording: Any, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = storage.join(faults.uri, f"recording.{extension}")
    write_recording(uri, duration_s=40, sampling_rate_hz=48_000, num_channels=3)
    num_bytes = len(storage.read_bytes(uri))
    assert num_bytes > 2 * BLOCK_BYTES
    fetched: list[tuple[int, int]] = []
    read = FaultyFileSystem.cat_file

    def counted(self: FaultyFileSystem, path: str, *, start: int, end: int) -> bytes:
        fetched.append((start, min(end, num_bytes)))
        return read(self, path, start=start, end=end)

    monkeypatch.setattr(FaultyFileSystem, "cat_file", counted)
    faults.plan()
    segments = [
        Segment(segment_id=str(n), recording=uri, start_s=float(n), end_s=n + 1.0)
        for n in range(40)
    ]
    outcomes = list(read_segments(uri, segments))
    assert all(isinstance(outcome, np.ndarray) for _, outcome in outcomes)
    assert sum(end - start for start, end in fetched) == num_bytes
    assert Counter(operation.kind for operation in faults.operations())["info"] == 1


def test_an_outage_passes_through_arrow(faults: Faults, short_deadline: None) -> None:
    uri = storage.join(faults.uri, "t.parquet")
    storage.write_table(uri, TABLE)
    faults.plan(Fault(effect="reset", operation="read"))
    with storage.open_binary(uri) as file, pytest.raises(StorageError):
        pq.ParquetFile(file)
    with pytest.raises(StorageError):
        storage.read_table(uri)


# S3 behind a proxy.

TROUBLES = ["slow_down", "too_many", "internal", "close", "lose", "truncate"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_s3_trouble_that_passes_is_not_seen(chaotic_s3: Any, trouble: str) -> None:
    for number, (function, expected) in enumerate(FUNCTIONS.items()):
        folder = storage.join(chaotic_s3.uri, str(number))
        fill(folder)
        chaotic_s3.proxy.chaos = Chaos(**{trouble: 0.35})
        assert function(folder) == expected
        chaotic_s3.proxy.chaos = Chaos()
    assert chaotic_s3.proxy.struck[trouble] > 0


def test_a_mix_of_all_troubles_with_stalls(chaotic_s3: Any) -> None:
    chaotic_s3.proxy.chaos = Chaos(**dict.fromkeys(TROUBLES, 0.05), stall=0.02)
    for number in range(25):
        uri = storage.join(chaotic_s3.uri, "run", f"shard {number} 100%.json")
        assert storage.create_if_absent(uri, f"ours {number}".encode())
        assert not storage.create_if_absent(uri, b"theirs")
        assert storage.read_bytes(uri) == f"ours {number}".encode()
    assert len(storage.list_names(storage.join(chaotic_s3.uri, "run"))) == 25
    assert set(chaotic_s3.proxy.struck) == {*TROUBLES, "stall"}


def test_s3_that_is_down_ends_at_the_deadline(chaotic_s3: Any, short_deadline: None) -> None:
    for chaos, function in (
        (Chaos(slow_down=1.0), storage.list_names),
        (Chaos(close=1.0), storage.read_bytes),
        (Chaos(stall=1.0), storage.exists),
    ):
        chaotic_s3.proxy.chaos = chaos
        with pytest.raises(StorageError, match="run the same command again"):
            function(chaotic_s3.uri)


def test_a_missing_file_on_s3_is_missing_at_once(
    chaotic_s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ser_model")
    with pytest.raises(FileNotFoundError, match="absent"):
        storage.read_bytes(storage.join(chaotic_s3.uri, "absent"))
    with pytest.raises(FileNotFoundError, match="no-such-bucket"):
        storage.write_atomic("s3://no-such-bucket/file", b"x")
    assert [r for r in caplog.records if r.name.startswith("ser_model")] == []


def test_s3_without_conditional_puts_is_refused(
    chaotic_s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_proven_buckets", set())
    chaotic_s3.proxy.heeds_conditions = False
    with pytest.raises(OSError, match="ignores If-None-Match"):
        storage.create_if_absent(storage.join(chaotic_s3.uri, "commit.json"), b"ours")
    chaotic_s3.proxy.heeds_conditions = True
    assert storage.create_if_absent(storage.join(chaotic_s3.uri, "next.json"), b"ours")


def test_no_secret_in_logs_or_messages(
    chaotic_s3: Any,
    new_clients: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    short_deadline: None,
) -> None:
    caplog.set_level(logging.DEBUG, logger="ser_model")
    uri = storage.join(chaotic_s3.uri, "file")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hidden-token")
    storage.write_atomic(uri, b"a client takes longer to make than the deadline lasts")
    chaotic_s3.proxy.chaos = Chaos(slow_down=1.0)
    with pytest.raises(StorageError) as raised:
        storage.write_atomic(uri, b"x")
    assert "could not write it" in caplog.text
    assert "hidden" not in caplog.text + str(raised.value)


def test_missing_credentials_fail_at_once(
    chaotic_s3: Any,
    new_clients: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="ser_model")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    uri = storage.join(chaotic_s3.uri, "file")
    with pytest.raises(PermissionError, match="no usable credentials") as raised:
        storage.read_bytes(uri)
    assert uri in str(raised.value)
    assert "AWS_ACCESS_KEY_ID" in str(raised.value)
    assert [r for r in caplog.records if r.name.startswith("ser_model")] == []


def test_a_user_may_choose_the_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 3}})
    settings = object_store._s3_options(1)["config_kwargs"]
    assert settings["read_timeout"] == 3
    assert settings["connect_timeout"] == object_store.S3_CONNECT_TIMEOUT_S


@pytest.mark.parametrize("name", ["with space", "100%", "a%20b", "données-日本", "a#b+c&d=e"])
def test_odd_names_under_faults(faults: Faults, chaotic_s3: Any, name: str) -> None:
    faults.plan(Fault(effect="reset", probability=0.3))
    chaotic_s3.proxy.chaos = Chaos(slow_down=0.3)
    for folder in (faults.uri, chaotic_s3.uri):
        uri = storage.join(folder, name, f"{name}.bin")
        assert storage.create_if_absent(uri, name.encode())
        assert storage.read_bytes(uri) == name.encode()
        assert storage.list_files(folder) == [f"{name}/{name}.bin"]
        with storage.open_binary(uri) as file:
            assert io.BytesIO(name.encode()).read() == file.read()
