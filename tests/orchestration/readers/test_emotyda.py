from __future__ import annotations

import logging

import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.schema import ManifestError

EVALUATION = """\
[6.2 - 8.2]\tSes01F_impro01_F000\tneu\t[2, 3, 4]
[9.0 - 9.9]\tSes01F_impro01_M000\tfru\t[2, 3, 4]
[11.0 - 12.0]\tSes01F_impro01_F001\tneu\t[2, 3, 4]
"""
HEADER = "TURN,UTTERANCE,DA,EMOTION\n"
ACTS = f"""{HEADER}\
Ses01F_impro01_F000,Excuse me.,c,neu
Ses01F_impro01_FXX0,No.,b,-
Ses01F_impro01_M000,"Do you, ""sir"", have your forms?",q,fru
"""
ANNOTATION = "EMOTyDA/Dataset/iemocap_session1.csv"


def lay_out(folder: str, **acts_by_session: str) -> None:
    evaluation = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    storage.write_atomic(storage.join(folder, evaluation), EVALUATION.encode())
    storage.write_atomic(storage.join(folder, "EMOTyDA/Dataset/MELD.csv"), b"no,acts\n1,2\n")
    for session, acts in acts_by_session.items():
        file = ANNOTATION.replace("session1", session)
        storage.write_atomic(storage.join(folder, file), acts.encode())


def test_acts_are_joined_by_turn(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    lay_out(folder, session1=ACTS, session5=f"{HEADER}Ses05F_impro01_F000,Hi.,g,neu\n")
    with caplog.at_level(logging.INFO):
        corpus = read_corpus(folder)
    assert corpus.reader == "emotyda"
    assert corpus.manifest["dialogue_act"].to_pylist() == ["command", "question", None]
    assert corpus.manifest["arousal"].to_pylist() == [0.5] * 3
    assert corpus.manifest.drop_columns(["dialogue_act"]) == (
        read_corpus(folder, reader="iemocap").manifest
    )
    assert "2 of 3 segments have a dialogue act; 2 annotated turns are no segment" in caplog.text


@pytest.mark.parametrize(
    ("acts", "message"),
    [
        ("TURN,DA_label\nt,q\n", r"session1\.csv has no column DA"),
        (f"{HEADER}t,Hi.,hello,neu\n", r"session1\.csv, row 1: DA 'hello' of turn 't'"),
        (f"{HEADER}t,Hi.,q,neu\n,Hi.,q,neu\n", r"session1\.csv, row 2: DA 'q' of turn None"),
        (f"{HEADER}t,Hi.,g,neu\nt,Hi.,q,neu\n", "turn t is annotated twice, as question and as gr"),
    ],
)
def test_broken_annotations(memory: str, acts: str, message: str) -> None:
    lay_out(memory, session1=acts)
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


def test_without_annotations_it_is_iemocap(memory: str) -> None:
    lay_out(memory)
    assert read_corpus(memory).reader == "iemocap"
    with pytest.raises(ManifestError, match=r"holds no iemocap_session1\.csv"):
        read_corpus(memory, reader="emotyda")
