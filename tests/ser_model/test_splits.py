from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_model.schema import SPLITS, ConfigError, ManifestError
from ser_model.splits import (
    assign_random_fifth,
    assign_splits,
    have_overlap,
    keep_fraction,
    make_folds,
    parse_shares,
    set_splits,
)


def manifest(num_segments: dict[str, int], sexes: dict[str, str | None] | None = None) -> pa.Table:
    speakers = [speaker for speaker, number in num_segments.items() for _ in range(number)]
    columns = {"speaker_id": speakers}
    if sexes is not None:
        columns["sex"] = pa.array([sexes[speaker] for speaker in speakers], pa.string())
    return pa.table(columns)


def test_24_speakers_70_15_15() -> None:
    sexes = {f"s{i}": "female" if i % 2 else "male" for i in range(24)}
    table = assign_splits(manifest(dict.fromkeys(sexes, 60), sexes), (70, 15, 15))
    groups = Counter(zip(table["split"].to_pylist(), table["sex"].to_pylist(), strict=True))
    assert {group: number // 60 for group, number in groups.items()} == {
        ("train", "female"): 8,
        ("train", "male"): 8,
        ("dev", "female"): 2,
        ("dev", "male"): 2,
        ("test", "female"): 2,
        ("test", "male"): 2,
    }


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 20), min_size=3, max_size=40),
    st.integers(0, 5),
)
def test_no_speaker_is_in_two_splits_and_none_is_empty(sizes: dict[str, int], seed: int) -> None:
    table = assign_splits(manifest(sizes), (70, 15, 15), seed=seed)
    pairs = set(zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert len(pairs) == len(sizes)
    assert {split for _, split in pairs} == set(SPLITS)


def test_the_split_depends_on_seed_and_ids_only() -> None:
    sizes = {f"s{i}": 5 for i in range(20)}
    there, back = manifest(sizes), manifest(dict(reversed(sizes.items())))

    def split_of(table: pa.Table, seed: int) -> dict[str, str]:
        assigned = assign_splits(table, (60, 20, 20), seed=seed)
        return dict(
            zip(assigned["speaker_id"].to_pylist(), assigned["split"].to_pylist(), strict=True)
        )

    assert split_of(there, 0) == split_of(back, 0)
    assert split_of(there, 0) != split_of(there, 1)


def test_shares_of_segments_are_kept_with_uneven_speakers() -> None:
    sizes = {f"s{i}": 1 + i % 17 for i in range(200)}
    table = assign_splits(manifest(sizes), (70, 15, 15))
    counts = Counter(table["split"].to_pylist())
    assert counts["train"] / len(table) == pytest.approx(0.70, abs=0.02)
    assert counts["dev"] / len(table) == pytest.approx(0.15, abs=0.02)


def test_a_share_of_zero_stays_empty_and_an_old_split_is_replaced() -> None:
    table = manifest({"a": 1, "b": 1, "c": 1, "d": 1}).append_column("split", pa.array(["dev"] * 4))
    assert set(assign_splits(table, (50, 0, 50))["split"].to_pylist()) == {"train", "test"}


def test_what_cannot_be_split() -> None:
    with pytest.raises(ManifestError, match="2 speakers cannot fill the splits train, dev, test"):
        assign_splits(manifest({"a": 5, "b": 5}), (70, 15, 15))
    with pytest.raises(ManifestError, match="needs a column 'speaker_id'"):
        assign_splits(pa.table({"recording": ["a"]}), (70, 15, 15))
    with pytest.raises(ManifestError, match="row 2 has no speaker_id"):
        assign_splits(pa.table({"speaker_id": ["a", None]}), (70, 15, 15))


@pytest.mark.parametrize("text", ["", "70", "70:30", "a:b:c", "-1:50:51", "0:0:0", "1:1:inf"])
def test_broken_shares(text: str) -> None:
    with pytest.raises(ConfigError, match="is not TRAIN:DEV:TEST"):
        parse_shares(text)


def numbered(sizes: dict[str, int], split: str = "train") -> pa.Table:
    table = manifest(sizes).append_column(
        "segment_id", [[f"id-{i}" for i in range(sum(sizes.values()))]]
    )
    return set_splits(table, [split] * len(table))


def train_ids(table: pa.Table) -> dict[str, str]:
    rows = table.to_pylist()
    return {row["segment_id"]: row["speaker_id"] for row in rows if row["split"] == "train"}


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 30), min_size=1, max_size=20),
    st.integers(0, 3),
)
def test_fractions_are_nested_and_the_same_part_of_every_speaker(
    sizes: dict[str, int], seed: int
) -> None:
    table = numbered(sizes)
    smaller: dict[str, str] = {}
    for fraction in (0.125, 0.25, 0.5, 0.75, 1.0):
        kept = train_ids(keep_fraction(table, fraction, seed=seed))
        assert smaller.items() <= kept.items()
        for speaker, number in Counter(kept.values()).items():
            assert abs(number - fraction * sizes[speaker]) <= 1
        smaller = kept
    assert len(smaller) == sum(sizes.values())


def test_a_fraction_of_speakers_with_one_segment_is_that_fraction_of_them() -> None:
    table = numbered({f"s{i}": 1 for i in range(1000)})
    kept = train_ids(keep_fraction(table, 0.25))
    assert len(kept) == pytest.approx(250, abs=40)
    assert train_ids(keep_fraction(table, 0.25, seed=1)) != kept


def test_a_fraction_leaves_dev_alone() -> None:
    table = numbered({"a": 10, "b": 10}, "dev")
    assert keep_fraction(table, 0.1)["split"].to_pylist() == ["dev"] * 20


def test_a_random_fifth_shares_speakers() -> None:
    table = numbered({"a": 50, "b": 50})
    assigned = assign_random_fifth(table)
    assert Counter(assigned["split"].to_pylist()) == {"train": 80, "dev": 20}
    assert have_overlap(assigned) is True
    assert assign_random_fifth(table, seed=1)["split"] != assigned["split"]
    assert have_overlap(assign_splits(numbered({"a": 1, "b": 1, "c": 1}), (1, 1, 1))) is False
    assert have_overlap(assigned.drop_columns("speaker_id")) is None


def sessions() -> pa.Table:
    """IEMOCAP's shape: five sessions of two speakers."""
    speakers = [f"Ses0{session}{sex}" for session in range(1, 6) for sex in "FM"]
    table = manifest(dict.fromkeys(speakers, 4))
    return table.append_column(
        "session", [[speaker[:5] for speaker in table["speaker_id"].to_pylist()]]
    )


def values_by_split(table: pa.Table, splits: tuple[str, ...], column: str) -> dict[str, set[str]]:
    pairs = set(zip(splits, table[column].to_pylist(), strict=True))
    return {name: {value for split, value in pairs if split == name} for name in SPLITS}


def test_leave_one_speaker_out_with_the_interlocutor_as_dev() -> None:
    table = sessions()
    folds = make_folds(table, "speaker_id", dev_within="session")
    assert len(folds) == 10
    for fold in folds:
        found = values_by_split(table, fold.splits, "speaker_id")
        (test,), (dev,) = found["test"], found["dev"]
        assert (test,) == fold.held_out
        assert dev[:5] == test[:5]
        assert dev != test
        assert len(found["train"]) == 8


def test_leave_one_session_out() -> None:
    table = sessions()
    folds = make_folds(table, "session")
    assert [fold.held_out for fold in folds] == [(f"Ses0{i}",) for i in range(1, 6)]
    assert values_by_split(table, folds[4].splits, "session")["dev"] == {"Ses01"}


def test_k_folds_hold_every_speaker_out_once() -> None:
    table = manifest({f"s{i:02d}": 5 + i % 3 for i in range(24)})
    folds = make_folds(table, "speaker_id", num_folds=8)
    assert sorted(value for fold in folds for value in fold.held_out) == [
        f"s{i:02d}" for i in range(24)
    ]
    for fold in folds:
        found = values_by_split(table, fold.splits, "speaker_id")
        assert [len(found[name]) for name in SPLITS] == [18, 3, 3]
    others = make_folds(table, "speaker_id", num_folds=8, seed=1)
    assert [fold.held_out for fold in others] != [fold.held_out for fold in folds]


def test_what_cannot_be_folded() -> None:
    table = sessions()
    with pytest.raises(ManifestError, match="folds need the column 'room'; there are: speaker_id"):
        make_folds(table, "room")
    with pytest.raises(ManifestError, match="gives 2 folds"):
        make_folds(manifest({"a": 3, "b": 3}), "speaker_id")
    mixed = table.append_column("take", [["a", "b", "c", "d"] * 10])
    with pytest.raises(ManifestError, match="would put a speaker into several splits"):
        make_folds(mixed, "take")
    with pytest.raises(ManifestError, match="row 2 has no speaker_id"):
        make_folds(pa.table({"speaker_id": ["a", None]}), "speaker_id")
