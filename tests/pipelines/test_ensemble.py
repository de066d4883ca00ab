"""Votes on files of predictions, against votes written out segment by segment."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from pipelines.ensemble import compare_members, vote_on_segments
from pipelines.member_comparison import MemberComparison
from pipelines.transforms.members import MemberFile, compare_partition, read_members
from pipelines.transforms.voting import Ensemble
from ser_model.schema import CLEAN, Prediction, Reason, Rejection, RunError, Stage

EMOTIONS = ("anger", "joy", "sadness")
IDS = [f"segment {number:03}" for number in range(120)]
NAMES = ("ann", "bob", "cat")
SCORES = pa.map_(pa.string(), pa.float32())


def emotion_table(seed: int, ids=IDS, emotions=EMOTIONS, condition=CLEAN) -> pa.Table:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(len(emotions), 0.5), len(ids)).astype(np.float32)
    rows = [dict(zip(emotions, row, strict=True)) for row in probabilities.tolist()]
    return pa.table(
        {
            "segment_id": ids,
            "condition": [condition] * len(ids),
            "emotion": [max(row, key=row.__getitem__) for row in rows],
            "emotion_scores": pa.array([list(row.items()) for row in rows], SCORES),
            "duration_s": [2.0] * len(ids),
        }
    )


def write(folder: Path, *tables: pa.Table) -> list[MemberFile]:
    files = []
    for member, table in enumerate(tables):
        path = folder / f"{NAMES[member]}.parquet"
        order = np.random.default_rng(member).permutation(table.num_rows)
        pq.write_table(table.take(pa.array(order)), path)
        files.append(MemberFile(member=member, uri=str(path)))
    return files


@dataclasses.dataclass
class Commits:
    """Keeps what is committed as a line of JSON each, so that other processes can commit too."""

    folder: Path

    def __call__(self, *, condition, shard, attempt, segment_ids, outcomes) -> None:
        assert sorted(segment_ids) == sorted(outcome.segment_id for outcome in outcomes)
        assert {outcome.condition for outcome in outcomes} <= {condition}
        lines = [
            json.dumps([type(outcome).__name__, dataclasses.asdict(outcome)])
            for outcome in outcomes
        ]
        (self.folder / f"{condition}-{shard}-{attempt}").write_text("\n".join(lines))

    def outcomes(self) -> dict[tuple[str, str], Prediction | Rejection]:
        kinds = {"Prediction": Prediction, "Rejection": Rejection}
        found = {}
        for path in self.folder.iterdir():
            for kind, fields in map(json.loads, path.read_text().splitlines()):
                found[fields["segment_id"], fields["condition"]] = kinds[kind](**fields)
        return found


def compare(files, num_members=3) -> MemberComparison:
    """Without Beam."""
    return compare_partition(read_members(files), num_members)


def vote_on(folder, files, vote, num_shards=4, beam_options=()):
    comparison = compare(files)
    comparison.check(NAMES, vote)
    folder.mkdir()
    commits = Commits(folder)
    vote_on_segments(
        files,
        Ensemble(vote=vote, members=NAMES, targets=comparison.targets(vote)),
        conditions=comparison.conditions,
        num_shards=num_shards,
        commit=commits,
        beam_options=beam_options,
    )
    return commits


def winner(rows) -> str:
    """The documented rule, of one segment's rows."""
    votes = Counter(row["emotion"] for row in rows)
    mean = {e: sum(sorted(dict(row["emotion_scores"])[e] for row in rows)) for e in EMOTIONS}
    tied = [emotion for emotion in votes if votes[emotion] == max(votes.values())]
    return min(tied, key=lambda emotion: (-mean[emotion], emotion))


def by_segment(tables, condition=CLEAN):
    rows = {}
    for table in tables:
        for row in table.to_pylist():
            if row["condition"] == condition:
                rows.setdefault(row["segment_id"], []).append(row)
    return rows


def test_a_hard_vote_is_that_of_the_rule_written_out(tmp_path):
    clean = [emotion_table(seed) for seed in range(3)]
    noisy = [emotion_table(seed, condition="rain") for seed in range(3, 6)]
    tables = [pa.concat_tables(pair) for pair in zip(clean, noisy, strict=True)]
    outcomes = vote_on(tmp_path / "run", write(tmp_path, *tables), "hard").outcomes()
    assert len(outcomes) == 2 * len(IDS)
    for condition in (CLEAN, "rain"):
        for segment_id, rows in by_segment(tables, condition).items():
            outcome = outcomes[segment_id, condition]
            assert outcome.emotion == winner(rows)
            assert outcome.duration_s == 2.0
    num_tied = sum(
        len({row["emotion"] for row in rows}) == 3 for rows in by_segment(clean).values()
    )
    assert num_tied > 5


def test_a_soft_vote_is_the_mean_of_the_probabilities(tmp_path):
    tables = [emotion_table(seed) for seed in range(3)]
    outcomes = vote_on(tmp_path / "run", write(tmp_path, *tables), "soft").outcomes()
    for segment_id, rows in by_segment(tables).items():
        expected = {e: np.mean([dict(row["emotion_scores"])[e] for row in rows]) for e in EMOTIONS}
        assert outcomes[segment_id, CLEAN].emotion_scores == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_the_dimensions_that_the_members_have(tmp_path):
    random = np.random.default_rng(0)
    values = random.random((3, len(IDS)))
    files = []
    for member, row in enumerate(values):
        path = tmp_path / f"{NAMES[member]}.csv"
        pa_csv.write_csv(pa.table({"segment_id": IDS, "arousal": row}), path)
        files.append(MemberFile(member=member, uri=str(path)))
    outcomes = vote_on(tmp_path / "run", files, "mean").outcomes()
    for number, segment_id in enumerate(IDS):
        arousal, dominance, valence = outcomes[segment_id, CLEAN].dimensions
        assert arousal == pytest.approx(values[:, number].mean(), abs=1e-12)
        assert np.isnan([dominance, valence]).all()


def test_processes_and_shards_change_nothing(tmp_path):
    files = write(tmp_path, *(emotion_table(seed) for seed in range(3)))
    options = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    alone = vote_on(tmp_path / "alone", files, "hard", num_shards=1)
    several = vote_on(tmp_path / "several", files[::-1], "hard", beam_options=options)
    assert len(list(several.folder.iterdir())) == 4
    assert several.outcomes() == alone.outcomes()


def test_what_one_member_rejects_or_does_not_know_is_rejected_with_its_name(tmp_path):
    tables = [emotion_table(seed) for seed in range(3)]
    rejected, unknown = IDS[7], IDS[11]
    rows = tables[1].to_pylist()
    rows[11] |= {"emotion": None, "emotion_scores": None}
    del rows[7]
    tables[1] = pa.Table.from_pylist(rows, schema=tables[1].schema)
    files = write(tmp_path, *tables)
    rejection = {
        "segment_id": [rejected],
        "condition": [CLEAN],
        "stage": ["decode"],
        "reason": ["truncated"],
        "detail": ["half of it is gone"],
    }
    pq.write_table(pa.table(rejection), tmp_path / "rejections.parquet")
    files.append(MemberFile(member=1, uri=str(tmp_path / "rejections.parquet"), is_rejections=True))
    comparison = compare(files)
    assert [facts.num_rejected for facts in comparison.members] == [0, 1, 0]
    outcomes = vote_on(tmp_path / "run", files, "hard").outcomes()
    assert outcomes[rejected, CLEAN] == Rejection(
        segment_id=rejected,
        condition=CLEAN,
        stage=Stage.DECODE,
        reason=Reason.TRUNCATED,
        detail="bob: half of it is gone",
    )
    assert outcomes[unknown, CLEAN].detail == "bob: no value of the emotion"
    kinds = Counter(type(outcome) for outcome in outcomes.values())
    assert kinds == {Prediction: len(IDS) - 2, Rejection: 2}


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_emotions_from_text_files_with_and_without_probabilities(tmp_path, extension):
    table = emotion_table(0)
    files = write(tmp_path, table, emotion_table(1), emotion_table(2))
    path = tmp_path / f"text.{extension}"
    lines = [
        json.dumps({**r, "emotion_scores": dict(r["emotion_scores"])}) for r in table.to_pylist()
    ]
    if extension == "csv":
        scores = [json.dumps(dict(row)) for row in table["emotion_scores"].to_pylist()]
        at = table.column_names.index("emotion_scores")
        pa_csv.write_csv(table.set_column(at, "emotion_scores", pa.array(scores)), path)
    else:
        path.write_text("\n".join(lines))
    expected = vote_on(tmp_path / "parquet", files, "hard").outcomes()
    files[0] = MemberFile(member=0, uri=str(path))
    assert vote_on(tmp_path / "text", files, "hard").outcomes() == expected


def test_a_file_with_emotions_alone_is_sure_of_each(tmp_path):
    tables = [emotion_table(seed).drop_columns("emotion_scores") for seed in range(3)]
    outcomes = vote_on(tmp_path / "run", write(tmp_path, *tables), "hard").outcomes()
    for segment_id, rows in by_segment(tables).items():
        votes = Counter(row["emotion"] for row in rows)
        tied = [emotion for emotion in votes if votes[emotion] == max(votes.values())]
        assert outcomes[segment_id, CLEAN].emotion == min(tied)


def refused(files, vote="hard") -> str:
    with pytest.raises(RunError) as caught:
        compare(files).check(NAMES, vote)
    return str(caught.value)


def test_different_segments_are_listed(tmp_path):
    files = write(tmp_path, emotion_table(0), emotion_table(1, IDS[8:]), emotion_table(2, IDS[:-1]))
    assert refused(files) == (
        "the members have different segments: bob lacks 8 that others have ('segment 000', "
        "'segment 001', 'segment 002', 'segment 003', 'segment 004', ...); cat lacks 1 that others "
        "have ('segment 119')"
    )


def test_different_conditions_are_listed(tmp_path):
    noisy = pa.concat_tables([emotion_table(0), emotion_table(0, condition="rain")])
    files = write(tmp_path, noisy, emotion_table(1), emotion_table(2))
    assert refused(files) == (
        "the members have different conditions: ann: clean, rain; bob: clean; cat: clean"
    )


def test_different_emotions_are_listed(tmp_path):
    others = (*EMOTIONS[:2], "sad")
    files = write(tmp_path, emotion_table(0), emotion_table(1, emotions=others), emotion_table(2))
    assert refused(files) == (
        "the members know different emotions: ann: anger, joy, sadness; bob: anger, joy, sad; "
        "cat: anger, joy, sadness"
    )


def test_an_emotion_without_probabilities_must_be_known_to_the_others(tmp_path):
    named = emotion_table(1, emotions=("anger", "joy", "sad")).drop_columns("emotion_scores")
    files = write(tmp_path, emotion_table(0), named, emotion_table(2))
    assert refused(files) == (
        "the members know different emotions: bob predicts sad, the others anger, joy, sadness"
    )
    assert "a soft vote needs emotion_scores, which 120 predictions of bob lack" in refused(
        files, "soft"
    )


def test_names_that_no_other_member_uses_are_refused(tmp_path):
    tables = [emotion_table(seed).drop_columns("emotion_scores") for seed in range(2)]
    third = emotion_table(2, emotions=("ang", "hap")).drop_columns("emotion_scores")
    assert refused(write(tmp_path, *tables, third)) == (
        "the members know different emotions: cat predicts ang, hap, the others anger, joy, sadness"
    )


def test_different_tasks_are_listed(tmp_path):
    dimensions = pa.table({"segment_id": IDS, "valence": np.linspace(0, 1, len(IDS))})
    files = write(tmp_path, emotion_table(0), dimensions, emotion_table(2))
    assert refused(files) == (
        "a hard vote is of emotions, which not every member predicts: ann: emotion; bob: valence; "
        "cat: emotion"
    )
    arousal = dimensions.rename_columns(["segment_id", "arousal"])
    files = write(tmp_path, arousal, dimensions, dimensions)
    assert refused(files, "mean") == (
        "the members predict different dimensions: ann: arousal; bob: valence; cat: valence"
    )


def test_segments_that_stand_twice_are_listed(tmp_path):
    twice = pa.concat_tables([emotion_table(1), emotion_table(1).slice(5, 1)])
    files = write(tmp_path, emotion_table(0), twice, emotion_table(2))
    assert refused(files).startswith(
        "bob has 1 segments more than once under a condition ('segment 005')"
    )


def test_conditions_of_different_segments_are_refused(tmp_path):
    tables = [
        pa.concat_tables([emotion_table(s), emotion_table(s, IDS[:30], condition="rain")])
        for s in range(3)
    ]
    assert "do not have the same segments (clean 120, rain 30)" in refused(write(tmp_path, *tables))


def test_scores_that_are_no_probabilities_are_refused(tmp_path):
    logits = emotion_table(1)
    scores = [
        [(name, 3 * value) for name, value in row] for row in logits["emotion_scores"].to_pylist()
    ]
    at = logits.column_names.index("emotion_scores")
    logits = logits.set_column(at, "emotion_scores", pa.array(scores, SCORES))
    files = write(tmp_path, emotion_table(0), logits, emotion_table(2))
    assert "bob has 120 predictions whose emotion_scores are no probabilities" in refused(files)


def test_the_comparison_of_parts_is_that_of_the_whole(tmp_path):
    tables = [emotion_table(0), emotion_table(1, IDS[8:]), emotion_table(2, IDS[:-1])]
    tables[2] = pa.concat_tables([tables[2], tables[2].slice(3, 2)])
    files = write(tmp_path, *tables)
    found = compare_members(files, str(tmp_path / "run"), num_members=3)
    assert found == compare(files)
    assert sum(found.buckets[CLEAN]) == len(IDS)


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path):
    files = write(tmp_path, emotion_table(0), emotion_table(1), emotion_table(2))
    (tmp_path / "bob.parquet").write_bytes(b"no Parquet")
    comparison = compare_members(files, str(tmp_path / "run"), num_members=3)
    with pytest.raises(RunError, match=r"bob\.parquet cannot be read"):
        comparison.check(NAMES, "hard")


def test_shards_are_counted_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.member_comparison.SEGMENTS_PER_SHARD", 20)
    files = write(tmp_path, *(emotion_table(seed) for seed in range(3)))
    planned = compare(files).num_segments_by_shard()
    assert len(planned) == 8
    commits = vote_on(tmp_path / "run", files, "hard", num_shards=len(planned))
    found = {
        int(path.name.split("-")[1]): len(path.read_text().splitlines())
        for path in commits.folder.iterdir()
    }
    assert [found[shard] for shard in range(8)] == planned
