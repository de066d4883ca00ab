import sys
from pathlib import Path

import numpy as np
import pytest

from orchestration.voices import Voice
from ser_model.schema import ConfigError

SENTENCE = "The train leaves at a quarter past nine."
MANNER = {"rate_wpm": 170, "pitch": 50, "pitch_range": 50}


def test_a_voice_speaks() -> None:
    with Voice("gmw/en+f2") as voice:
        waveform = voice.speak(SENTENCE, **MANNER)
    assert waveform.dtype == np.float32
    assert 0.2 < np.abs(waveform).max() <= 1


def test_what_others_said_before_changes_nothing() -> None:
    # f2 breathes: espeak-ng's noise goes on from sentence to sentence within one loaded library.
    with Voice("gmw/en-GB-scotland+f2") as voice:
        alone = voice.speak(SENTENCE, **MANNER)
        again = voice.speak(SENTENCE, **MANNER)
    with Voice("gmw/en-US+m1") as other, Voice("gmw/en-GB-scotland+f2") as voice:
        other.speak("Somebody else is talking.", **MANNER)
        after_another = voice.speak(SENTENCE, **MANNER)
    np.testing.assert_array_equal(alone, after_another)
    assert not np.array_equal(alone, again)


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(ConfigError, match="'gmw/en-XX'"):
        Voice("gmw/en-XX")
    with pytest.raises(ConfigError, match=r"'en-gb'; it has en, en-029, .*en-us"):
        Voice("en-gb")
    with pytest.raises(ConfigError, match=r"'xx'; it has .* de, .* fr"):
        Voice("xx")


def test_without_espeak_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ConfigError, match=r"pip install 'serval\[demo\]'.*'serval\[probe\]'"):
        Voice("gmw/en+f1")


def test_where_there_is_nothing_to_say_there_is_silence() -> None:
    with Voice("en-us") as voice:
        for text in ("", "...", "\u200b"):
            waveform = voice.speak(text, **MANNER)
            assert len(waveform) < 1_000
            assert not waveform.any()


def test_words_of_another_script_find_their_dictionary(capfd: pytest.CaptureFixture[str]) -> None:
    # Read while speaking, when the voice is loaded long since.
    with Voice("en-us") as voice:
        waveform = voice.speak("\u0939\u093f\u0928\u094d\u0926\u0940", **MANNER)
    assert waveform.any()
    assert capfd.readouterr().err == ""


def test_a_voice_that_is_closed_leaves_no_copy_of_the_library() -> None:
    def num_copies() -> int:
        return Path("/proc/self/maps").read_text().count("espeak-ng.so")

    before = num_copies()
    with Voice("en-us"):
        assert num_copies() > before
    with pytest.raises(ConfigError):
        Voice("gmw/en-XX")
    assert num_copies() == before
