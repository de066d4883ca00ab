"""Observations are read back as they were written, and a damaged one says so."""

import json
import logging

import numpy as np
import pytest

from orchestration.nights.observation import (
    OBSERVATION_FILE,
    Observation,
    read_observation,
    write_observation,
)
from ser_model import storage
from ser_model.metrics.exchanged_nights import NUM_GROUPS
from ser_model.schema import RunError

OBSERVATION = Observation(
    weights_sha256="abc",
    histograms={"emotion": {"joy": np.arange(NUM_GROUPS)}},
    outcomes={"scored": np.arange(NUM_GROUPS), "rejected": np.ones(NUM_GROUPS, dtype=np.int64)},
    speakers=np.array([3, 2**64 - 1], dtype=np.uint64),
    languages={"日本": 7},
    missing={"age": 0},
    num_unmatched=2,
)


def test_it_is_read_as_it_was_written(folder: str) -> None:
    assert read_observation(folder) is None
    write_observation(folder, OBSERVATION)
    found = read_observation(folder)
    assert found is not None
    assert found.speakers.dtype == np.uint64
    assert found.speakers.tolist() == [3, 2**64 - 1]
    assert found.histograms["emotion"]["joy"].tolist() == list(range(NUM_GROUPS))
    assert found.num_segments == OBSERVATION.num_segments == 255 * 128 + 256
    assert found.num_matched == found.num_segments - 2
    for name in ("weights_sha256", "languages", "missing", "num_unmatched"):
        assert getattr(found, name) == getattr(OBSERVATION, name)


def damage(content: dict, place: str, value: object) -> dict:
    *path, last = place.split(".")
    inner = content
    for name in path:
        inner = inner[name]
    inner[last] = value
    return content


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("outcomes.scored", [1, 2]),
        ("outcomes.scored", [-1] * NUM_GROUPS),
        ("outcomes.scored", [[0] * NUM_GROUPS]),
        ("histograms", []),
        ("speakers", [-1]),
        ("speakers", [2**64]),
        ("speakers", ["ann"]),
        ("languages", {"de": None}),
        ("num_unmatched", None),
    ],
)
def test_a_damaged_file_is_named(tmp_path, place, value) -> None:
    write_observation(str(tmp_path), OBSERVATION)
    file = tmp_path / OBSERVATION_FILE
    file.write_text(json.dumps(damage(json.loads(file.read_text()), place, value)))
    with pytest.raises(RunError, match=rf"{OBSERVATION_FILE} is damaged .*; delete it"):
        read_observation(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"{"])
def test_what_is_no_observation_is_damaged(tmp_path, content) -> None:
    storage.write_atomic(str(tmp_path / OBSERVATION_FILE), content)
    with pytest.raises(RunError, match="is damaged"):
        read_observation(str(tmp_path))


def test_one_of_another_version_is_not_compared_with(tmp_path, caplog) -> None:
    storage.write_json(str(tmp_path / OBSERVATION_FILE), {"observation_version": 2})
    with caplog.at_level(logging.WARNING):
        assert read_observation(str(tmp_path)) is None
    assert "another version" in caplog.text
