from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_model.schema import SPLITS, ConfigError, ManifestError
from ser_model.splits import assign_splits, parse_shares


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
