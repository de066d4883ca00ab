from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from orchestration.readers.catalogue import read_corpus
from orchestration.readers.iemocap import EXPECTED
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.manifest import segments
from ser_model.schema import ManifestError, SegmentError

WriteRecording = Callable[..., str]

IMPROVISED = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.0000, 3.0000, 5.0000]
C-E2:\tNeutral;\t()
C-F1:\tNeutral;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[1.0000, 2.5000, 2.5000]
C-E2:\tFrustration; Anger;\t()
"""
SCRIPTED = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[0.5000 - 1.0000]\tSes05M_script01_1b_F003\texc\t[5.5000, 4.0000, 0.5000]
"""
FILES = {
    "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": IMPROVISED,
    "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt": "\x00 of another system",
    "Session1/dialog/EmoEvaluation/Attribute/Ses01F_impro01_e3_atr.txt": "Ses01F_impro01_F000 :",
    "Session1/dialog/transcriptions/Ses01F_impro01.txt": (
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me: [LAUGHTER]\n"
        "M: a line of nobody's turn\n"
        "Ses01F_impro01_MXX0 [008.0000-009.0000]: Hm.\n"
    ),
    "Session5/dialog/EmoEvaluation/Ses05M_script01_1b.txt": SCRIPTED,
    "Session5/dialog/transcriptions/Ses05M_script01_1b.txt": "",
}
IMPROVISED_WAVS = "Session1/sentences/wav/Ses01F_impro01"
WAVS = (
    f"{IMPROVISED_WAVS}/Ses01F_impro01_F000.wav",
    f"{IMPROVISED_WAVS}/Ses01F_impro01_M000.wav",
    "Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_F003.wav",
)


@pytest.fixture
def corpus(folder: str, write_recording: WriteRecording) -> str:
    root = storage.join(folder, "IEMOCAP_full_release")
    for file, text in FILES.items():
        storage.write_atomic(storage.join(root, file), text.encode())
    for file in WAVS:
        write_recording(storage.join(root, file), duration_s=0.1)
    return root


def test_turns(corpus: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = read_corpus(corpus)
    assert found.reader == "iemocap"
    first, second, third = found.manifest.drop_columns(["start_s", "end_s"]).to_pylist()
    assert first == {
        "segment_id": "Ses01F_impro01_F000",
        "recording": storage.join(corpus, WAVS[0]),
        "speaker_id": "Ses01F",
        "sex": "female",
        "language": "eng",
        "session": "Session1",
        "dialogue": "Ses01F_impro01",
        "elicitation": "improvised",
        "transcript": "Excuse me: [LAUGHTER]",
        "emotion": "neutral",
        "emotion_4": "neutral",
        "arousal": 0.5,
        "dominance": 1.0,
        "valence": 0.25,
    }
    assert (second["speaker_id"], second["sex"]) == ("Ses01M", "male")
    assert (second["emotion"], second["emotion_4"], second["transcript"]) == (None, None, None)
    assert (third["session"], third["speaker_id"]) == ("Session5", "Ses05F")
    assert third["elicitation"] == "scripted"
    assert (third["emotion"], third["emotion_4"]) == ("excitement", "happiness")
    assert (third["arousal"], third["dominance"], third["valence"]) == (0.75, None, None)
    assert "2 means are off the scale of 1 to 5 and left empty" in caplog.text
    assert "dominance 0.5 of Ses05M_script01_1b_F003" in caplog.text
    for segment in segments(found.manifest):
        ((_, waveform),) = read_segments(segment.recording, [segment])
        assert not isinstance(waveform, SegmentError)


def test_the_folder_above_will_do(corpus: str) -> None:
    above = read_corpus(storage.parent(corpus))
    assert above.reader == "iemocap"
    assert above.manifest == read_corpus(corpus).manifest


def test_counts_are_those_of_the_paper(corpus: str) -> None:
    mismatches = read_corpus(corpus).mismatches
    assert len(mismatches) == len(EXPECTED) == 5
    assert "expected 10039 segments by 10 speakers" in mismatches[0]
    assert "found 3 by 3" in mismatches[0]
    assert sum(expectation.num_segments for expectation in EXPECTED[1:]) == 5531


def test_absent_audio_is_counted(memory: str) -> None:
    storage.write_atomic(
        storage.join(memory, "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"),
        IMPROVISED.encode(),
    )
    found = read_corpus(memory)
    assert len(found.manifest) == 2
    assert found.mismatches[-1].startswith("2 of 2 segments name a recording that is not there")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[0.5 - 1.0]\tSes01F_impro01_F001\tneu\t[2.5, 2.5]", "line 2 is no evaluated turn"),
        ("[0.5 - 1.0]\tSes01F_impro01_F001\tjoy\t[2.5, 2.5, 2.5]", "line 2 is no evaluated turn"),
        ("[0.5 - 1.0]\tSes01F_impro01\tneu\t[2.5, 2.5, 2.5]", "line 2 is no evaluated turn"),
        ("C-E2:\tNeutral;\t()", "no evaluated turn in 1 files"),
    ],
)
def test_broken_evaluations(memory: str, line: str, message: str) -> None:
    file = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    storage.write_atomic(storage.join(memory, file), f"% a header\n{line}\n".encode())
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


def test_no_evaluation(memory: str) -> None:
    storage.write_atomic(storage.join(memory, "Session1/readme.txt"), b"")
    with pytest.raises(ManifestError, match="holds no SessionN/dialog/EmoEvaluation"):
        read_corpus(memory, reader="iemocap")
