import dataclasses

import numpy as np
import pytest

from orchestration.demo import rule
from orchestration.demo.episodes import speak
from orchestration.demo.rule import Latents, Manner, Prosody
from orchestration.demo.sentences import SENTIMENTS, sentences_of
from orchestration.level import level_dbfs
from orchestration.voices import Voice
from ser_model.audio import SAMPLING_RATE_HZ

MIDDLE = Latents(arousal=0.5, dominance=0.5, valence=0.5)
MANNER = Manner(rate_wpm=170, pitch_semitones=0, level_dbfs=-28)


def spoken(voice_name: str = "gmw/en+m2", **changed: float) -> tuple[np.ndarray, Prosody]:
    prosody = rule.prosody_of(dataclasses.replace(MIDDLE, **changed), MANNER, None)
    with Voice(voice_name) as voice:
        return speak(voice, "They moved the shelf to the other wall.", prosody, 1.0), prosody


def level_between(waveform: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Power in a band in dB, relative to the whole."""
    power = np.abs(np.fft.rfft(waveform)) ** 2
    frequency_hz = np.fft.rfftfreq(len(waveform), 1 / SAMPLING_RATE_HZ)
    inside = (frequency_hz >= low_hz) & (frequency_hz < high_hz)
    return float(10 * np.log10(power[inside].sum() / power.sum()))


def pitch_hz(waveform: np.ndarray) -> np.ndarray:
    """Pitch of the voiced frames, by autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 640)[::320]
    frames = frames[np.sqrt((frames**2).mean(axis=1)) > 0.5 * np.sqrt((waveform**2).mean())]
    lags = np.arange(SAMPLING_RATE_HZ // 250, SAMPLING_RATE_HZ // 60)
    spectrum = np.abs(np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), 2048)) ** 2
    correlation = np.fft.irfft(spectrum)
    correlation = correlation[:, lags] / correlation[:, :1]
    best = correlation.argmax(axis=1)
    return SAMPLING_RATE_HZ / lags[best][correlation.max(axis=1) > 0.4]


@pytest.mark.parametrize("voice_name", ["gmw/en+m2", "gmw/en-US+f1", "gmw/en-GB-scotland+f5"])
def test_arousal_is_heard_louder_faster_and_higher(voice_name: str) -> None:
    heard = [spoken(voice_name, arousal=arousal)[0] for arousal in (0.1, 0.5, 0.9)]
    levels = [level_dbfs(waveform) for waveform in heard]
    assert np.diff(levels) == pytest.approx([6.4, 6.4], abs=0.1)
    durations_s = [len(waveform) / SAMPLING_RATE_HZ for waveform in heard]
    assert durations_s[0] > 1.1 * durations_s[1] > 1.1 * 1.1 * durations_s[2]


def test_arousal_raises_and_dominance_lowers_the_pitch() -> None:
    def median(**changed: float) -> float:
        return float(np.median(pitch_hz(spoken(**changed)[0])))

    assert median(arousal=0.9) > 1.1 * median() > 1.1 * 1.1 * median(arousal=0.1)
    assert median(dominance=0.9) < 0.95 * median() < 0.95 * 0.95 * median(dominance=0.1)


def test_dominance_has_a_chest_voice_and_does_not_hesitate() -> None:
    (low, hesitant), (high, firm) = spoken(dominance=0.1), spoken(dominance=0.9)
    assert level_between(high, 0, 500) > level_between(low, 0, 500)
    assert level_between(high, 500, 2500) < level_between(low, 500, 2500) - 2
    assert hesitant.pause_ms == pytest.approx(72)
    assert firm.pause_ms == pytest.approx(8)
    assert len(low) > len(high) + 0.1 * SAMPLING_RATE_HZ


def test_valence_is_bright_and_lively() -> None:
    sad, happy = spoken(valence=0.1)[0], spoken(valence=0.9)[0]
    assert level_between(happy, 3000, 8000) > level_between(sad, 3000, 8000) + 6
    sad_hz, happy_hz = pitch_hz(sad), pitch_hz(happy)
    assert np.std(np.log2(happy_hz)) > 1.3 * np.std(np.log2(sad_hz))


def test_words_follow_valence() -> None:
    rng = np.random.default_rng(0)

    def share(sentiment: str, valence: float) -> float:
        latents = dataclasses.replace(MIDDLE, valence=valence)
        return float(np.mean([rule.sentiment_of(latents, rng) == sentiment for _ in range(200)]))

    assert share("negative", 0.1) > 0.95
    assert share("neutral", 0.5) > 0.9
    assert share("positive", 0.9) > 0.95
    assert 0.3 < share("positive", 2 / 3) < 0.7


def test_there_are_enough_sentences_of_each_sentiment_and_none_twice() -> None:
    sentences = [sentence for sentiment in SENTIMENTS for sentence in sentences_of(sentiment)]
    assert all(len(sentences_of(sentiment)) >= 20 for sentiment in SENTIMENTS)
    assert len(set(sentences)) == len(sentences)


def test_truth_is_the_mean_of_clipped_raters() -> None:
    rng = np.random.default_rng(0)
    biases = np.zeros((rule.NUM_RATERS, 3))
    ratings = [rule.rate(MIDDLE, biases, rng)["valence"] for _ in range(2000)]
    assert np.mean(ratings) == pytest.approx(0.5, abs=0.005)
    assert np.std(ratings) == pytest.approx(rule.RATER_NOISE / np.sqrt(3), rel=0.1)
    extreme = Latents(arousal=0.98, dominance=0.02, valence=0.5)
    clipped = [rule.rate(extreme, biases, rng) for _ in range(200)]
    assert all(0 <= value <= 1 for truth in clipped for value in truth.values())
    assert max(truth["arousal"] for truth in clipped) <= 1
    assert np.mean([truth["arousal"] for truth in clipped]) < 0.98


@pytest.mark.parametrize(
    ("arousal", "valence", "emotion"),
    [
        (0.9, 0.9, "happiness"),
        (0.9, 0.1, "anger"),
        (0.1, 0.9, "calm"),
        (0.1, 0.1, "sadness"),
        (0.55, 0.45, "neutral"),
    ],
)
def test_emotion_names_the_quadrant(arousal: float, valence: float, emotion: str) -> None:
    assert rule.emotion_of(Latents(arousal=arousal, dominance=0.5, valence=valence)) == emotion
