"""A condition depends on waveform, segment and seed alone, and on nothing that came before."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ser_model.augment import Condition, NoiseFolder, conditions, known_names
from ser_model.schema import Reason, SegmentError, Stage

from_other_process = """
import hashlib, json, pickle, sys
import numpy as np
conditions, speech = pickle.load(open(sys.argv[1], "rb"))
heard = {c.name: hashlib.sha256(c.apply(speech, "s-7", 3).tobytes()).hexdigest()
         for c in reversed(conditions)}
print(json.dumps(heard))
"""


def digest(waveform: np.ndarray) -> str:
    return hashlib.sha256(waveform.tobytes()).hexdigest()


@pytest.fixture
def everything(noise: NoiseFolder) -> tuple[Condition, ...]:
    return conditions(known_names(), noise)


def test_another_process_order_and_number_of_threads_hear_the_same(
    everything: tuple[Condition, ...], speech: np.ndarray, tmp_path: Path
) -> None:
    here = {}
    speech = speech[:16_000]
    for condition in everything:
        condition.apply(speech[:8_000], "another segment", 9)
        here[condition.name] = digest(condition.apply(speech, "s-7", 3))
    file = tmp_path / "conditions.pickle"
    file.write_bytes(pickle.dumps((everything, speech)))
    done = subprocess.run(
        [sys.executable, "-c", from_other_process, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == here


def test_what_comes_out_is_a_finite_waveform_and_what_went_in_is_as_before(
    everything: tuple[Condition, ...], speech: np.ndarray
) -> None:
    before = speech.copy()
    unchanged = []
    for condition in everything:
        augmented = condition.apply(speech, "s", 0)
        assert augmented.dtype == np.float32, condition.name
        assert augmented.ndim == 1, condition.name
        assert np.isfinite(augmented).all(), condition.name
        np.testing.assert_array_equal(speech, before)
        if len(augmented) == len(speech) and (augmented == speech).all():
            unchanged.append(condition.name)
    assert unchanged == ["clean"]


def test_a_read_only_waveform_is_taken(
    everything: tuple[Condition, ...], speech: np.ndarray
) -> None:
    locked = speech.copy()
    locked.setflags(write=False)
    for condition in everything:
        condition.apply(locked, "s", 0)


RANDOM = (
    "natural-10db",
    "speed-up-segment",
    "babble-20db",
    "coughing-10db",
    "small-tone",
    "white-noise-20db",
    "phone",
    "gaps-10pct",
    "microphone-mobile",
)


@pytest.mark.parametrize("name", RANDOM)
def test_another_segment_or_seed_draws_anew(
    everything: tuple[Condition, ...], speech: np.ndarray, name: str
) -> None:
    (condition,) = (c for c in everything if c.name == name)
    heard = {
        digest(condition.apply(speech, segment_id, seed))
        for segment_id in ("a", "b")
        for seed in (0, 1)
    }
    assert len(heard) == 4


def test_the_levels_of_one_noise_share_its_sound_and_offset(
    everything: tuple[Condition, ...], speech: np.ndarray
) -> None:
    by_name = {condition.name: condition for condition in everything}
    for family, mild, harsh in (("natural", 20, 0), ("cross-talk", 20, 10), ("white-noise", 30, 5)):
        added = [
            by_name[f"{family}-{snr}db"].apply(speech, "a", 0).astype(float) - speech
            for snr in (mild, harsh)
        ]
        expected = added[0] * 10 ** ((mild - harsh) / 20)
        np.testing.assert_allclose(added[1], expected, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_rejected(speech: np.ndarray, bad: float) -> None:
    (condition,) = conditions(["clean"], None)
    broken = speech.copy()
    broken[5] = bad
    with pytest.raises(SegmentError) as caught:
        condition.apply(broken, "a", 0)
    assert (caught.value.stage, caught.value.reason) == (Stage.AUGMENT, Reason.NOT_FINITE)


def outcome(condition: Condition, waveform: np.ndarray) -> str | int:
    """The length of what comes out, or the reason why nothing does."""
    try:
        augmented = condition.apply(waveform, "a", 0)
    except SegmentError as error:
        assert error.stage == Stage.AUGMENT
        return error.reason.value
    assert np.isfinite(augmented).all()
    return len(augmented)


def test_silence_is_rejected_where_a_level_is_related_to_it_and_else_stays_silent(
    everything: tuple[Condition, ...],
) -> None:
    silence = np.zeros(16_000, np.float32)
    silent = {c.name for c in everything if outcome(c, silence) == "silent_segment"}
    at_a_level = ("white-noise", "natural", "human", "interior", "environmental", "music", "babble")
    at_a_level += ("cross-talk", "coughing", "sneezing", "loudness", "phone", "small-tone")
    at_a_level += ("small-white-noise",)
    assert silent == {c.name for c in everything if c.name.startswith(at_a_level)}
    for condition in everything:
        if condition.name not in silent:
            assert np.abs(condition.apply(silence, "a", 0)).max(initial=0) < 1e-12, condition.name


@pytest.mark.parametrize("num_samples", [1, 160])
def test_segments_of_one_sample_and_of_10_ms(
    everything: tuple[Condition, ...], num_samples: int
) -> None:
    waveform = np.full(num_samples, 0.1, np.float32)
    waveform[::2] *= -1
    for condition in everything:
        found = outcome(condition, waveform)
        if condition.name.startswith(("gaps", "loudness", "small-crop")):
            # 10 ms can still lose 100 samples; gaps and loudness have nothing to work on.
            lost_100 = condition.name.startswith("small-crop") and found == num_samples - 100
            assert found == "too_short" or lost_100, condition.name
        elif condition.name.startswith(("small-append", "small-prepend")):
            assert found in {num_samples + added for added in (100, 500, 1000)}
        elif condition.name.startswith(("playback", "speed-up")):
            assert 1 <= found <= num_samples, condition.name
        else:
            assert found == num_samples, condition.name


def test_a_segment_without_samples_is_rejected(everything: tuple[Condition, ...]) -> None:
    nothing = np.empty(0, np.float32)
    assert {outcome(condition, nothing) for condition in everything} == {"too_short"}
