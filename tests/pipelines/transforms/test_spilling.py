"""Rows that are laid aside in files come back whole, from any number of bundles."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that

from pipelines.runner import open_pipeline
from pipelines.transforms import spilling
from pipelines.transforms.spilling import Spill, Spilled, fetch, spill_folder
from pipelines.transforms.tables import split_by_hash, to_table
from ser_model import storage

NUM_PARTITIONS = 5


def make_batches(num_batches):
    random = np.random.default_rng(0)
    for number in range(num_batches):
        ids = [f"{number}-{row}" for row in range(200)]
        columns = {"id": ids, "value": random.uniform(0, 1, 200)}
        yield pa.table(columns).to_batches()[0]


def rows_of(table):
    return sorted(zip(table["id"].to_pylist(), table["value"].to_pylist(), strict=True))


def spill(folder, batches):
    """Split as a worker does, in one bundle."""
    worker = Spill(folder)
    worker.start_bundle()
    split = (piece for batch in batches for piece in split_by_hash(batch, "id", NUM_PARTITIONS))
    pieces = [found for piece in split for found in worker.process(piece)]
    return [*pieces, *(windowed.value for windowed in worker.finish_bundle())]


@pytest.mark.parametrize("folder", ["local", "memory"])
@pytest.mark.parametrize("block_bytes", [1, 10_000, 1 << 25])
def test_every_row_comes_back_once_in_its_partition(folder, block_bytes, monkeypatch, tmp_path):
    uri = str(tmp_path / "spill") if folder == "local" else f"memory://{tmp_path.name}/spill"
    monkeypatch.setattr(spilling, "BLOCK_BYTES", block_bytes)
    batches = list(make_batches(7))
    pieces = spill(uri, batches)
    num_files = len({piece.uri for _, piece in pieces if isinstance(piece, Spilled)})
    at_least, at_most = {1: (35, 35), 10_000: (2, 6), 1 << 25: (0, 0)}[block_bytes]
    assert at_least <= num_files <= at_most
    assert storage.exists(uri) is (num_files > 0)
    found = []
    for number in range(NUM_PARTITIONS):
        table = to_table(fetch(piece for n, piece in pieces if n == number))
        alone = {n for n, _ in spill(uri, table.to_batches())}
        assert alone == {number}
        found += rows_of(table)
    assert sorted(found) == rows_of(pa.Table.from_batches(batches))
    storage.remove_folder(uri)
    assert not storage.exists(uri)


def test_what_is_less_than_a_block_touches_no_disk(tmp_path):
    pieces = spill(str(tmp_path / "spill"), make_batches(2))
    assert pieces
    assert all(isinstance(piece, bytes) for _, piece in pieces)
    assert not (tmp_path / "spill").exists()


def test_a_file_that_was_cut_short_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(spilling, "BLOCK_BYTES", 1)
    pieces = spill(str(tmp_path), make_batches(1))
    path = storage.local_path(pieces[-1][1].uri)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((OSError, pa.ArrowInvalid)):
        to_table(fetch(piece for _, piece in pieces))


def test_the_folder_is_removed_whatever_happens(tmp_path):
    with pytest.raises(KeyError), spill_folder(str(tmp_path), []) as folder:
        storage.write_atomic(storage.join(folder, "a"), b"a")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_where_beam_may_write(tmp_path):
    options = ["--runner=FlinkRunner", f"--temp_location={tmp_path}/temporary"]
    with spill_folder("s3://bucket/audit", options) as folder:
        assert storage.parent(folder) == f"{tmp_path}/temporary"


def test_a_store_that_lets_nobody_delete_is_no_failure(monkeypatch, caplog, tmp_path):
    def refuse(_):
        raise PermissionError("no right to delete")

    monkeypatch.setattr(storage, "remove_folder", refuse)
    with spill_folder(str(tmp_path), []) as folder:
        pass
    assert f"{folder} could not be removed, remove it by hand" in caplog.text


def test_a_pipeline_reads_what_another_stage_laid_aside(monkeypatch, tmp_path):
    monkeypatch.setattr(spilling, "BLOCK_BYTES", 5_000)
    batches = list(make_batches(6))
    expected = rows_of(pa.Table.from_batches(batches))

    def check(found):
        assert sorted(row for rows in found for row in rows) == expected

    with open_pipeline([]) as pipeline:
        rows = (
            pipeline
            | beam.Create(batches)
            | beam.FlatMap(split_by_hash, "id", NUM_PARTITIONS)
            | beam.ParDo(Spill(str(tmp_path)))
            | beam.GroupByKey()
            | beam.MapTuple(lambda _, pieces: rows_of(to_table(fetch(pieces))))
        )
        assert_that(rows, check)
