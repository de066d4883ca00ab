"""Conditions of a shard: decoded once, a window in memory, and windows that know no conditions."""

from collections.abc import Iterator

import numpy as np
import pytest

from orchestration.hearing import ConditionAudio, ConditionEnd, Heard, Hearing
from orchestration.shard_plan import SegmentAudio
from ser_model.augment import Condition, conditions
from ser_model.schema import CLEAN, Reason, SegmentError, Stage

NAMES = (CLEAN, "small-gain", "playback-1.25x", "white-noise-20db")
GONE = SegmentError(Stage.READ, Reason.RECORDING_NOT_FOUND, "gone.wav does not exist")


def noise(seed: int, num_samples: int = 16_000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


class Source:
    """Ten segments of a second, of which one cannot be read and one is silent; it counts."""

    def __init__(self) -> None:
        self.segments: list[SegmentAudio] = [(str(n), noise(n)) for n in range(10)]
        self.segments[3] = ("3", GONE)
        self.segments[7] = ("7", np.zeros(16_000, np.float32))
        self.num_read = 0

    def read(self) -> Iterator[SegmentAudio]:
        for segment in self.segments:
            self.num_read += 1
            yield segment


def hear(names: tuple[str, ...], *, window_s: float = 3.0, seed: int = 0) -> list[Heard]:
    hearing = Hearing(conditions(names, None), seed=seed, window_s=window_s)
    return list(hearing.hear(Source().read()))


def audio_of(heard: list[Heard], condition: str) -> list[ConditionAudio]:
    return [i for i in heard if isinstance(i, ConditionAudio) and i.condition == condition]


def test_every_segment_is_read_once_and_heard_once_under_each_condition() -> None:
    source = Source()
    heard = list(Hearing(conditions(NAMES, None), window_s=3.0).hear(source.read()))
    assert source.num_read == 10
    for name in NAMES:
        assert [item.segment_id for item in audio_of(heard, name)] == [str(n) for n in range(10)]
        assert heard.count(ConditionEnd(condition=name)) == 1
        assert all(
            item.condition != name
            for item in heard[heard.index(ConditionEnd(condition=name)) + 1 :]
        )


def test_clean_is_what_was_decoded_and_others_are_what_the_condition_makes_of_it() -> None:
    source = dict(Source().read())
    heard = hear(NAMES, seed=5)
    for item in audio_of(heard, CLEAN):
        assert item.audio is source[item.segment_id] or np.array_equal(
            item.audio, source[item.segment_id]
        )
    for condition in conditions(NAMES[1:], None):
        for item in audio_of(heard, condition.name):
            if item.segment_id not in ("3", "7"):
                expected = condition.apply(source[item.segment_id], item.segment_id, 5)
                assert np.array_equal(item.audio, expected)


def test_a_segment_that_cannot_be_read_or_augmented_says_why_under_each_condition() -> None:
    heard = hear(NAMES)
    for name in NAMES:
        errors = {
            item.segment_id: (item.audio.stage, item.audio.reason)
            for item in audio_of(heard, name)
            if isinstance(item.audio, SegmentError)
        }
        silent = {"7": (Stage.AUGMENT, Reason.SILENT_SEGMENT)} if "noise" in name else {}
        assert errors == {"3": (Stage.READ, Reason.RECORDING_NOT_FOUND)} | silent


def test_windows_do_not_depend_on_the_conditions_beside() -> None:
    everything = hear(NAMES)
    for names in ((CLEAN,), NAMES[1:2], NAMES[2:], NAMES[::-1]):
        some = hear(names)
        for name in names:
            assert [(i.segment_id, i.window) for i in audio_of(some, name)] == [
                (i.segment_id, i.window) for i in audio_of(everything, name)
            ]
    # Three seconds of clean audio fill a window; what cannot be read takes no room in one.
    windows = [item.window for item in audio_of(everything, "playback-1.25x")]
    assert windows == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("names", [NAMES, NAMES[1:]])
def test_no_more_than_a_window_of_clean_and_one_augmented_segment_are_held(
    names: tuple[str, ...],
) -> None:
    source, num_augmented = Source(), 0

    def count(condition: Condition) -> Condition:
        class Counting(Condition):
            def apply(self, waveform: np.ndarray, segment_id: str, seed: int) -> np.ndarray:
                nonlocal num_augmented
                num_augmented += 1
                return super().apply(waveform, segment_id, seed)

        fields = ("name", "description", "transform", "draws", "needs_noise", "packages")
        return Counting(**{field: getattr(condition, field) for field in fields})

    chosen = [count(condition) for condition in conditions(names, None)]
    num_heard = 0
    windows_done = 0
    for item in Hearing(chosen, window_s=3.0).hear(source.read()):
        if not isinstance(item, ConditionAudio):
            continue
        if item.condition != CLEAN and item.segment_id != "3":
            num_heard += 1
        assert num_augmented == num_heard  # nothing is augmented before it is wanted
        windows_done = item.window
        assert source.num_read <= 4 * (windows_done + 1)  # 3 s, and what cannot be read
    assert num_augmented == 9 * sum(name != CLEAN for name in names)


def test_times_of_reading_and_of_augmenting_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def slow_read() -> Iterator[SegmentAudio]:
        nonlocal now_s
        for segment in Source().read():
            now_s += 1.0
            yield segment

    def slow_transform(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        nonlocal now_s
        now_s += 10.0
        return waveform

    monkeypatch.setattr("orchestration.hearing.time.monotonic", lambda: now_s)
    slow = Condition(name="slow", description="", transform=slow_transform, draws="slow")
    hearing = Hearing([*conditions([CLEAN], None), slow], window_s=3.0)
    for _ in hearing.hear(slow_read()):
        now_s += 100.0  # what is done with it counts for neither
    assert (hearing.read_s, hearing.augment_s) == (10.0, 90.0)
