"""Transcripts become speech: each once, always the same, whatever stands in them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from orchestration.level import level_dbfs
from orchestration.text_probe.synthesis import (
    MAX_CHARACTERS,
    NeutralVoice,
    Unspoken,
    speak_all,
    spoken_text,
    why_unspoken,
)
from ser_model.audio import decode_audio
from ser_model.schema import ConfigError

VOICE = NeutralVoice()
TEXTS = ["We won.", "He reads.", "I am so tired of it."]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str | None]]:
    folder = tmp_path_factory.mktemp("speech")
    return folder, speak_all([*TEXTS, "..."], str(folder), VOICE)


def test_each_text_is_heard_at_one_level(spoken) -> None:
    folder, names = spoken
    waveforms = [decode_audio((folder / names[text]).read_bytes()) for text in TEXTS]
    assert [level_dbfs(w) for w in waveforms] == pytest.approx([-26] * 3, abs=0.01)
    durations = [len(waveform) for waveform in waveforms]
    assert durations[2] > 1.5 * durations[0]


def test_what_is_not_heard_has_no_file(spoken) -> None:
    folder, names = spoken
    assert names["..."] is None
    assert {path.name for path in folder.iterdir()} == {names[text] for text in TEXTS}


def test_a_file_depends_on_its_text_and_voice_alone(spoken, tmp_path: Path) -> None:
    folder, names = spoken
    again = speak_all(TEXTS[::-1], str(tmp_path), VOICE)
    assert again == {text: names[text] for text in TEXTS}
    for name in again.values():
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    others = speak_all(TEXTS, str(tmp_path), NeutralVoice(name="en-us+f2"))
    assert not set(others.values()) & set(names.values())


def test_what_is_there_is_not_spoken_again(spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, names = spoken
    heard = []
    monkeypatch.setattr(NeutralVoice, "speak", lambda self, text: heard.append(text))
    assert speak_all(["New.", *TEXTS], str(folder), VOICE) == {
        "New.": None,
        **{text: names[text] for text in TEXTS},
    }
    assert heard == ["New."]


def test_no_text_is_needed(tmp_path: Path) -> None:
    assert speak_all([], str(tmp_path), VOICE) == {}


@pytest.mark.parametrize(
    ("transcript", "why"),
    [
        (None, Unspoken.NO_TRANSCRIPT),
        ("", Unspoken.EMPTY_TRANSCRIPT),
        (" \t\n\x00\x1b ", Unspoken.EMPTY_TRANSCRIPT),
        ("a" * MAX_CHARACTERS, None),
        ("a" * 100_000, Unspoken.TRANSCRIPT_TOO_LONG),
        ("\u4f60\u597d\u4e16\u754c", Unspoken.OTHER_SCRIPT),
        ("\u041f\u0440\u0438\u0432\u0435\u0442, Ann", Unspoken.OTHER_SCRIPT),
        ("Caf\u00e9 \u03b1", None),
        ("42", None),
        ("\U0001f600", None),
    ],
)
def test_why_a_transcript_is_not_spoken(transcript: str | None, why: Unspoken | None) -> None:
    assert why_unspoken(transcript, VOICE) == why


def test_another_language_may_have_another_script() -> None:
    assert why_unspoken("\u041f\u0440\u0438\u0432\u0435\u0442", NeutralVoice(name="ru")) is None


def test_control_characters_command_nothing() -> None:
    # \x01 begins a command of espeak-ng, here for a rate; \x00 would end the text.
    assert spoken_text("Good\x00 \x01300S day\x7f") == "Good 300S day"
    commanded = VOICE.speak(spoken_text("\x01400S We won the match today."))
    as_text = VOICE.speak("400S We won the match today.")
    assert commanded is not None
    np.testing.assert_array_equal(commanded, as_text)


def test_an_unknown_voice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'en-xx'"):
        speak_all(TEXTS, str(tmp_path), NeutralVoice(name="en-xx"))
    assert list(tmp_path.iterdir()) == []


def test_without_espeak_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ConfigError, match=r"serval\[probe\]"):
        VOICE.facts()
