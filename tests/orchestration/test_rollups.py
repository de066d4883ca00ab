"""Roll-ups: copies of records that make a resume cheap, and can never make it wrong."""

import dataclasses
import math
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration import rollups
from orchestration.commits import (
    COMMITS,
    Commit,
    combined_sha256,
    commit_uri,
    commits_folder,
    commits_table,
    count,
    shard_name,
)
from orchestration.rollups import RollUps
from ser_model import storage
from ser_model.schema import CLEAN, RunError


def record(shard: int, condition: str = CLEAN, **changes: object) -> Commit:
    num_rejections = shard % 3
    by_reason = {"not_audio": 1} if num_rejections == 1 else {"too_short": 1, "not_audio": 1}
    commit = Commit(
        condition=condition,
        shard=shard,
        attempt=f"attempt{shard}",
        identity_sha256="ours",
        predictions_file=f"data/{condition}/{shard_name(shard)}.predictions.parquet",
        rejections_file="some.parquet" if num_rejections else None,
        num_predictions=10,
        num_rejections=num_rejections,
        num_rejections_by_reason=by_reason if num_rejections else {},
        audio_s=0.1 * shard,
        content_sha256=f"{shard:064x}",
    )
    return dataclasses.replace(commit, **changes)


def write(run: str, commit: Commit) -> Commit:
    uri = commit_uri(run, commit.condition, commit.shard)
    assert storage.create_if_absent(uri, storage.to_json_bytes(dataclasses.asdict(commit)))
    return commit


@pytest.fixture(autouse=True)
def four_to_a_roll_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "COMMITS_PER_ROLL_UP", 4)


@pytest.fixture
def run(folder: str) -> str:
    return storage.join(folder, "run")


def drive(run: str, shards: range, **changes: object) -> RollUps:
    """Commit some shards and note them, as a driver does whose workers report."""
    driver = RollUps(run, str(changes.get("identity_sha256", "ours")))
    for shard in shards:
        driver.note(write(run, record(shard, **changes)))
    return driver


def roll_up_names(run: str) -> list[str]:
    names = storage.list_names(commits_folder(run, CLEAN))
    return [name for name in names if name.startswith("rollup-")]


class Requests:
    """Counts what is asked of the storage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uris: Counter[str] = Counter()
        for function in ("list_names", "read_bytes", "write_atomic"):
            monkeypatch.setattr(storage, function, self._counting(function))

    def _counting(self, function: str):
        real = getattr(storage, function)

        def call(uri: str, *args: object, **options: object):
            self.uris[f"{function} {Path(uri).suffix}"] += 1
            return real(uri, *args, **options)

        return call


def test_a_resume_lists_once_and_reads_roll_ups_and_the_few_records_behind_them(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(run, range(11))
    assert len(roll_up_names(run)) == 2
    requests = Requests(monkeypatch)
    resumed = RollUps(run, "ours")
    assert resumed.refresh(CLEAN) == set(range(11))
    assert requests.uris == {"list_names ": 1, "read_bytes .parquet": 2, "read_bytes .json": 3}
    assert resumed.table(CLEAN).equals(commits_table([record(shard) for shard in range(11)]))


def test_what_a_driver_knows_is_not_read_again(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = drive(run, range(6))
    write(run, record(6))  # by a worker of a driver that died
    requests = Requests(monkeypatch)
    assert driver.refresh(CLEAN) == set(range(7))
    assert driver.refresh(CLEAN) == set(range(7))
    assert requests.uris == {"list_names ": 2, "read_bytes .json": 1}


def test_resumes_again_and_again_roll_up_what_each_found(run: str) -> None:
    for first in range(0, 12, 3):  # each dies before it has enough for a roll-up of its own
        driver = RollUps(run, "ours")
        driver.refresh(CLEAN)
        for shard in range(first, first + 3):
            driver.note(write(run, record(shard)))
    assert len(roll_up_names(run)) == 3


def test_a_record_that_is_noted_twice_counts_once(run: str) -> None:
    driver = drive(run, range(3))
    driver.note(record(2))
    assert driver.table(CLEAN)["shard"].to_pylist() == [0, 1, 2]


def test_two_drivers_that_roll_up_the_same_records_count_them_once(run: str) -> None:
    drive(run, range(4))
    other = RollUps(run, "ours")
    for shard in range(4):
        other.note(record(shard))
    assert len(roll_up_names(run)) == 2
    resumed = RollUps(run, "ours")
    resumed.refresh(CLEAN)
    assert resumed.table(CLEAN)["shard"].to_pylist() == [0, 1, 2, 3]


def test_conditions_are_kept_apart(run: str) -> None:
    driver = drive(run, range(5))
    for shard in range(2):
        driver.note(write(run, record(shard, condition="noise")))
    resumed = RollUps(run, "ours")
    assert resumed.refresh("noise") == {0, 1}
    assert resumed.table("noise")["condition"].to_pylist() == ["noise"] * 2
    assert resumed.table(CLEAN).num_rows == 0


def test_a_copy_of_a_record_that_is_not_there_counts_for_nothing(tmp_path: Path) -> None:
    drive(str(tmp_path), range(4))
    Path(commit_uri(str(tmp_path), CLEAN, 2)).unlink()
    resumed = RollUps(str(tmp_path), "ours")
    assert resumed.refresh(CLEAN) == {0, 1, 3}
    assert resumed.table(CLEAN)["shard"].to_pylist() == [0, 1, 3]
    resumed.note(record(2, attempt="again"))
    assert resumed.table(CLEAN)["attempt"].to_pylist()[2] == "again"


def test_a_roll_up_of_another_run_is_refused(run: str) -> None:
    drive(run, range(4), identity_sha256="theirs")
    with pytest.raises(RunError, match=r"rollup-.* is of another run.*--output"):
        RollUps(run, "ours").refresh(CLEAN)


def test_a_record_of_another_run_is_refused_read_or_noted(run: str) -> None:
    foreign = write(run, record(0, identity_sha256="theirs"))
    with pytest.raises(RunError, match="shard-00000 is of another run"):
        RollUps(run, "ours").refresh(CLEAN)
    with pytest.raises(RunError, match="shard-00000 is of another run"):
        RollUps(run, "ours").note(foreign)


@pytest.mark.parametrize("damage", [b"", b"no parquet", None])
def test_a_damaged_roll_up_is_named(tmp_path: Path, damage: bytes | None) -> None:
    drive(str(tmp_path), range(4))
    path = Path(commits_folder(str(tmp_path), CLEAN), roll_up_names(str(tmp_path))[0])
    if damage is None:
        pq.write_table(pa.table({"shard": [0]}), path)
    else:
        path.write_bytes(damage)
    with pytest.raises(RunError, match=f"{path.name} is damaged; delete it"):
        RollUps(str(tmp_path), "ours").refresh(CLEAN)
    path.unlink()
    assert RollUps(str(tmp_path), "ours").refresh(CLEAN) == {0, 1, 2, 3}


def test_records_survive_the_table() -> None:
    commits = [record(shard) for shard in range(5)]
    table = commits_table(commits)
    assert table.schema == COMMITS
    rows = table.to_pylist(maps_as_pydicts="strict")
    assert [Commit(**row) for row in rows] == commits


def test_counts_add_up_over_shards() -> None:
    table = commits_table([record(shard) for shard in range(6)])
    assert count(table, "predictions") == {
        "num_segments": 66,
        "num_predictions": 60,
        "num_rejections": 6,
        "num_rejections_by_reason": {"not_audio": 4, "too_short": 2},
        "audio_s": math.fsum(0.1 * shard for shard in range(6)),
    }
    assert count(commits_table([]), "predictions")["num_segments"] == 0


def test_transcripts_are_counted_by_who_made_them() -> None:
    made = [{"manifest": 7, "hf:a/b@1": 3}, {}, {"hf:a/b@1": 10}]
    commits = [record(number, num_by_transcriber=counts) for number, counts in enumerate(made)]
    counts = count(commits_table(commits), "transcripts")
    assert (counts["num_transcripts"], counts["num_segments"]) == (30, 33)
    assert counts["num_by_transcriber"] == {"hf:a/b@1": 13, "manifest": 7}
    assert "num_predictions" not in counts


def test_the_hash_of_a_run_forgets_the_order_but_no_shard() -> None:
    commits = [record(shard) for shard in range(5)]
    hashes = [combined_sha256(commits_table(c)) for c in (commits, commits[::-1], commits[1:])]
    assert hashes[0] == hashes[1] != hashes[2]
