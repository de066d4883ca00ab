"""Transcripts from a run or a table, put beside the segments of a manifest."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.commits import RunIdentity
from orchestration.ledger import Ledger
from orchestration.transcripts import transcripts_sha256, with_transcripts
from ser_model.schema import (
    CLEAN,
    ManifestError,
    Reason,
    Rejection,
    RunError,
    Stage,
    Transcript,
)
from ser_model.table_files import write_table_file

TEXTS = {"a": 'he said "no",\nthen left', "b": "", "c": "où ?"}


def write_run(folder: Path, *, product: str = "transcripts", complete: bool = True) -> str:
    """Two shards of transcripts, and a rejection."""
    identity = RunIdentity(
        model_uri="hf:a/b@1",
        model_version="1",
        weights_sha256="abc",
        dtype="float32",
        embeddings=False,
        num_threads=1,
        source_sha256="def",
        num_segments=4,
        num_shards=2,
        product=product,
    )
    ledger = Ledger(str(folder), identity)
    ledger.start({})
    rejected = Rejection(
        segment_id="gone", condition=CLEAN, stage=Stage.READ, reason=Reason.NOT_AUDIO, detail="no"
    )
    for shard, ids in enumerate((["c", "gone"], ["a", "b"])):
        outcomes = [
            Transcript(
                segment_id=segment_id,
                condition=CLEAN,
                duration_s=1.0,
                transcript=TEXTS[segment_id],
                transcriber="hf:a/b@1",
            )
            for segment_id in ids
            if segment_id != "gone" and product == "transcripts"
        ]
        missing = [i for i in ids if i not in {o.segment_id for o in outcomes}]
        outcomes += [
            Rejection(
                segment_id=i,
                condition=CLEAN,
                stage=rejected.stage,
                reason=rejected.reason,
                detail="",
            )
            for i in missing
        ]
        ledger.commit(condition=CLEAN, shard=shard, attempt="x", segment_ids=ids, outcomes=outcomes)
    if complete:
        ledger.complete([2, 2], [CLEAN])
    return str(folder)


def manifest(ids: list[str], **columns: list[object]) -> pa.Table:
    return pa.table({"segment_id": ids, "recording": [f"{i}.wav" for i in ids], **columns})


@pytest.fixture(params=["run", "out.parquet", "out.csv", "out.jsonl"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "run":
        return write_run(tmp_path / "run")
    table = pa.table(
        {"segment_id": ["gone", *TEXTS], "transcript": [None, *TEXTS.values()], "more": [1] * 4}
    )
    write_table_file(str(tmp_path / request.param), table)
    return str(tmp_path / request.param)


def test_each_segment_gets_its_own_transcript(source: str) -> None:
    rows = with_transcripts(manifest(["b", "gone", "a", "c"], sex=["male"] * 4), source)
    assert rows.column_names == ["segment_id", "recording", "sex", "transcript"]
    blank = None if source.endswith(".csv") else TEXTS["b"]  # CSV knows no empty text
    assert rows["transcript"].to_pylist() == [blank, None, TEXTS["a"], TEXTS["c"]]
    assert rows["segment_id"].to_pylist() == ["b", "gone", "a", "c"]


def test_a_column_that_is_there_is_replaced_and_a_part_of_the_segments_will_do(source: str) -> None:
    old = manifest(["c", "a"], transcript=["old", "older"], sex=["male", "female"])
    rows = with_transcripts(old, source)
    assert rows.column_names == old.column_names
    assert rows["transcript"].to_pylist() == [TEXTS["c"], TEXTS["a"]]


def test_segments_that_are_not_known_are_listed(source: str) -> None:
    unknown = [f"new{number}" for number in range(5)]
    message = r"does not know 5 of 6 segments: 'new0', 'new1', 'new2', \.\.\."
    with pytest.raises(ManifestError, match=message):
        with_transcripts(manifest(["a", *unknown]), source)


def test_what_holds_no_transcripts_is_refused(tmp_path: Path) -> None:
    rows = manifest(["a"])
    with pytest.raises(RunError, match=r"holds predictions .*, not transcripts"):
        with_transcripts(rows, write_run(tmp_path / "scores", product="predictions"))
    with pytest.raises(RunError, match="run the same `serval transcribe` again"):
        with_transcripts(rows, write_run(tmp_path / "unfinished", complete=False))
    with pytest.raises(RunError, match="is no run"):
        with_transcripts(rows, str(tmp_path / "nowhere"))
    write_table_file(str(tmp_path / "other.csv"), pa.table({"segment_id": ["a"], "text": ["b"]}))
    with pytest.raises(ManifestError, match="has no column 'transcript'"):
        with_transcripts(rows, str(tmp_path / "other.csv"))
    twice = pa.table({"segment_id": ["a", "a"], "transcript": ["b", "c"]})
    write_table_file(str(tmp_path / "twice.csv"), twice)
    with pytest.raises(ManifestError, match="holds segment 'a' more than once"):
        with_transcripts(rows, str(tmp_path / "twice.csv"))
    latin = pa.table({"segment_id": ["a"], "transcript": pa.array(["où".encode("latin-1")])})
    pq.write_table(latin, tmp_path / "latin.parquet")
    with pytest.raises(
        ManifestError, match=r"latin.parquet, row 1: transcript is no text in UTF-8"
    ):
        with_transcripts(rows, str(tmp_path / "latin.parquet"))


def test_the_hash_is_of_the_transcripts(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name) for name in ("first", "second"))
    assert transcripts_sha256(first) == transcripts_sha256(second)
    table = pa.table({"segment_id": ["a"], "transcript": ["b"]})
    uris = [str(tmp_path / f"{number}.csv") for number in range(2)]
    write_table_file(uris[0], table)
    write_table_file(uris[1], pa.table({"segment_id": ["a"], "transcript": ["c"]}))
    assert len({transcripts_sha256(uri) for uri in (first, *uris)}) == 3
    with pytest.raises(ManifestError, match=r"none.csv cannot be read"):
        transcripts_sha256(str(tmp_path / "none.csv"))
