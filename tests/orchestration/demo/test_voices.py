import sys

import numpy as np
import pytest

from orchestration.demo.voices import Voice
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


def test_without_espeak_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ConfigError, match=r"pip install 'serval\[demo\]'"):
        Voice("gmw/en+f1")
