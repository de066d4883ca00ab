"""Observations of a run: nothing is lost, and what is known of a segment finds it."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration.commits import RunIdentity
from orchestration.ledger import Ledger
from orchestration.nights import observing
from orchestration.nights.observing import observe
from ser_model.manifest import write_manifest
from ser_model.metrics.bootstrap import speaker_keys
from ser_model.metrics.exchanged_nights import NUM_GROUPS, speaker_groups
from ser_model.schema import CLEAN, Prediction, Reason, Rejection, RunError, Stage

IDENTITY = RunIdentity(
    model_uri="models:/demo/1",
    model_version="1",
    weights_sha256="abc",
    dtype="float32",
    embeddings=True,
    num_threads=1,
    source_sha256="def",
    num_segments=5,
    num_shards=2,
)
AROUSAL = {"a": -0.2, "b": 0.05, "c": 0.55, "d": 1.0}
"""Of the segments of two shards; "e" is rejected."""

SHARDS = (("a", "c"), ("b", "d", "e"))
SPEAKERS = {"a": "ann", "b": "bob", "c": "ann", "d": None, "e": "bob"}


def outcome(segment_id: str, condition: str, *, emotions: bool) -> Prediction | Rejection:
    if segment_id == "e":
        return Rejection(
            segment_id="e",
            condition=condition,
            stage=Stage.READ,
            reason=Reason.NOT_AUDIO,
            detail="",
        )
    arousal = AROUSAL[segment_id]
    return Prediction(
        segment_id=segment_id,
        condition=condition,
        duration_s=1.0,
        dimensions=None if emotions else (arousal, 0.5, 0.25),
        emotion_scores={"joy": arousal, "anger": 0.5} if emotions else None,
        embedding=(0.5, 1.0),
    )


def write_run(
    folder: Path, *, conditions: tuple[str, ...] = (CLEAN,), emotions: bool = False
) -> str:
    ledger = Ledger(str(folder), IDENTITY)
    ledger.start({})
    for condition in conditions:
        for shard, ids in enumerate(SHARDS):
            outcomes = [outcome(segment_id, condition, emotions=emotions) for segment_id in ids]
            ledger.commit(
                condition=condition,
                shard=shard,
                attempt="x",
                segment_ids=ids,
                outcomes=outcomes,
            )
    ledger.complete([len(ids) for ids in SHARDS], list(conditions))
    return str(folder)


def write_metadata(folder: Path, name: str = "metadata.parquet", **columns: object) -> str:
    uri = str(folder / name)
    write_manifest(uri, pa.table({"segment_id": list(SPEAKERS), **columns}))
    return uri


def totals(histogram) -> dict[str, int]:
    return {name: int(counts.sum()) for name, counts in histogram.items() if counts.any()}


def group_of(name: str) -> int:
    return int(speaker_groups(speaker_keys([name]))[0])


@pytest.mark.parametrize("name", ["metadata.parquet", "metadata.csv", "metadata.jsonl"])
def test_every_segment_is_counted_in_the_group_of_its_speaker(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    metadata = write_metadata(tmp_path, name, speaker_id=list(SPEAKERS.values()))
    seen = observe(run, metadata)
    assert seen.weights_sha256 == "abc"
    assert (seen.num_segments, seen.num_matched, seen.num_unmatched) == (5, 5, 0)
    assert totals(seen.outcomes) == {"scored": 4, "rejected": 1}
    assert {target: totals(h) for target, h in seen.histograms.items()} == {
        "arousal": {"0": 2, "5": 1, "9": 1},
        "dominance": {"5": 4},
        "valence": {"2": 4},
    }
    arousal = seen.histograms["arousal"]
    assert arousal["5"][group_of("ann")] == 1
    assert arousal["0"][group_of("ann")] == arousal["0"][group_of("bob")] == 1
    assert seen.outcomes["rejected"][group_of("bob")] == 1
    assert seen.speakers.tolist() == sorted(speaker_keys(["ann", "bob"]).tolist())
    assert seen.missing == {"speaker_id": 1}


def test_emotions_are_counted_by_name(tmp_path: Path) -> None:
    seen = observe(write_run(tmp_path / "run", emotions=True), write_metadata(tmp_path))
    assert {target: totals(h) for target, h in seen.histograms.items()} == {
        "emotion": {"anger": 2, "joy": 2}
    }


def test_missing_values_and_languages_are_those_of_the_runs_segments(tmp_path: Path) -> None:
    uri = str(tmp_path / "metadata.parquet")
    table = {
        "segment_id": ["of another run", "a", "b", "c", "d"],
        "language": ["xx", "de", "de", None, "en"],
        "age": [None, 30.0, float("nan"), None, 41.0],
        "valence": [0.0, 7.0, None, 1.0, 2.0],
        "room": [None] * 5,
    }
    write_manifest(uri, pa.table(table))
    seen = observe(write_run(tmp_path / "run"), uri)
    assert seen.languages == {"de": 2, "en": 1}
    assert seen.missing == {"language": 1, "age": 2, "valence": 1}
    assert seen.num_unmatched == 1
    assert seen.speakers.size == 0


def test_without_speakers_a_recording_is_one(tmp_path: Path) -> None:
    recordings = ["/1.wav", "/1.wav", "/1.wav", "/2.wav", "/2.wav"]
    metadata = write_metadata(tmp_path, recording=recordings)
    seen = observe(write_run(tmp_path / "run"), metadata)
    in_groups = sum(seen.histograms["arousal"].values())
    assert in_groups[group_of("/1.wav")] == 3
    assert in_groups[group_of("/2.wav")] == 1
    assert seen.speakers.size == 0
    assert "speaker_id" not in seen.missing


def test_only_clean_segments_count(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", conditions=(CLEAN, "white-noise-20db"))
    assert observe(run, write_metadata(tmp_path)).num_segments == 5
    noisy = write_run(tmp_path / "noisy", conditions=("white-noise-20db",))
    with pytest.raises(RunError, match="noisy was not scored under the condition clean"):
        observe(noisy, write_metadata(tmp_path))


def test_metadata_in_parts_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run")
    metadata = write_metadata(
        tmp_path, speaker_id=list(SPEAKERS.values()), language=["de", "en", "de", None, "fr"]
    )
    whole = observe(run, metadata)
    parts_of = observing.metadata_parts
    monkeypatch.setattr(
        observing, "metadata_parts", lambda *a, **o: parts_of(*a, **o, rows_per_part=2)
    )
    in_parts = observe(run, metadata)
    assert (in_parts.speakers == whole.speakers).all()
    assert (in_parts.languages, in_parts.missing) == (whole.languages, whole.missing)
    for name, counts in whole.histograms["arousal"].items():
        assert (in_parts.histograms["arousal"][name] == counts).all()


def test_of_many_speakers_those_with_the_smallest_keys_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "MAX_SPEAKERS", 2)
    metadata = write_metadata(tmp_path, speaker_id=["1", "2", "3", "4", "5"])
    seen = observe(write_run(tmp_path / "run"), metadata)
    assert seen.speakers.tolist() == sorted(speaker_keys(["1", "2", "3", "4", "5"]).tolist())[:2]


def test_counts_add_up_for_random_corpora(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = [f"segment {number}" for number in range(300)]
    ledger = Ledger(
        str(tmp_path / "run"), dataclasses.replace(IDENTITY, num_segments=300, num_shards=1)
    )
    ledger.start({})
    values = random.normal(0.5, 0.3, (300, 3))
    outcomes = [
        Prediction(
            segment_id=segment_id,
            condition=CLEAN,
            duration_s=1.0,
            dimensions=tuple(row),
            embedding=(0.0,),
        )
        for segment_id, row in zip(ids, values.tolist(), strict=True)
    ]
    ledger.commit(condition=CLEAN, shard=0, attempt="x", segment_ids=ids, outcomes=outcomes)
    ledger.complete([300], [CLEAN])
    names = [f"speaker {number}" for number in random.integers(0, 40, 300)]
    shuffled = random.permutation(300)
    uri = str(tmp_path / "metadata.parquet")
    columns = {"segment_id": ids, "speaker_id": names}
    write_manifest(uri, pa.table(columns).take(pa.array(shuffled)))
    seen = observe(str(tmp_path / "run"), uri)
    groups = np.array([group_of(name) for name in names])
    edges = np.clip(np.floor(np.float32(values) * 10), 0, 9)
    for column, target in enumerate(("arousal", "dominance", "valence")):
        expected = np.zeros((10, NUM_GROUPS), dtype=int)
        np.add.at(expected, (edges[:, column].astype(int), groups), 1)
        counted = np.stack([seen.histograms[target][str(number)] for number in range(10)])
        assert (counted == expected).all()
