from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.schema import ManifestError

DEMOGRAPHICS = """\
"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1040,42,"Female","Unknown","Hispanic"
"""


def test_crema_d(folder: str, write_files: Callable[..., None]) -> None:
    write_files(
        folder,
        {
            "AudioWAV/1001_DFA_ANG_XX.wav": "",
            "AudioWAV/1040_ITH_SAD_X.wav": "",
            "AudioMP3/1001_DFA_ANG_XX.mp3": "",
            "VideoDemographics.csv": DEMOGRAPHICS,
            "SentenceFilenames.csv": '"Stimulus_Number","Filename"\n1,"1001_DFA_ANG_XX"\n',
        },
    )
    corpus = read_corpus(folder)
    assert corpus.reader == "crema_d"
    assert corpus.manifest.drop_columns(["start_s", "end_s", "recording"]).to_pylist() == [
        {
            "segment_id": "AudioWAV/1001_DFA_ANG_XX.wav",
            "speaker_id": "1001",
            "sex": "male",
            "age": 51.0,
            "race": "Caucasian",
            "ethnicity": "Not Hispanic",
            "language": "eng",
            "emotion": "anger",
            "intensity": "unspecified",
            "sentence": "DFA",
            "transcript": "Don't forget a jacket",
        },
        {
            "segment_id": "AudioWAV/1040_ITH_SAD_X.wav",
            "speaker_id": "1040",
            "sex": "female",
            "age": 42.0,
            "race": "Unknown",
            "ethnicity": "Hispanic",
            "language": "eng",
            "emotion": "sadness",
            "intensity": "unspecified",
            "sentence": "ITH",
            "transcript": "I think I have a doctor's appointment",
        },
    ]
    (mismatch,) = corpus.mismatches
    assert (
        "expected 7442 segments by 91 speakers (CREMA-D; Cao et al. 2014), found 2 by 2" in mismatch
    )


def test_the_mp3_files_alone_will_do(memory: str, write_files: Callable[..., None]) -> None:
    write_files(memory, {"AudioMP3/1001_IEO_HAP_HI.mp3": "", "VideoDemographics.csv": DEMOGRAPHICS})
    (row,) = read_corpus(memory).manifest.to_pylist()
    assert row["recording"] == storage.join(memory, "AudioMP3/1001_IEO_HAP_HI.mp3")
    assert row["intensity"] == "high"


@pytest.mark.parametrize(
    ("name", "demographics", "message"),
    [
        ("1001_DFA_ANG_XX.wav", None, "holds no VideoDemographics.csv"),
        ("1002_DFA_ANG_XX.wav", DEMOGRAPHICS, "VideoDemographics.csv has no row of ActorID 1002"),
        (
            "1001_DFA_ANG_XX.wav",
            DEMOGRAPHICS.replace("Female", "?"),
            r"VideoDemographics\.csv, row 2: Sex '\?'",
        ),
        ("1001_DFA_ANG_XX.wav", DEMOGRAPHICS.replace("Race", "race"), "no column Race"),
        ("1001_DFA_ANG_XX.wav", DEMOGRAPHICS.replace("51", "old"), "row 1: age 'old'"),
    ],
)
def test_broken(
    memory: str,
    write_files: Callable[..., None],
    name: str,
    demographics: str | None,
    message: str,
) -> None:
    write_files(memory, {f"AudioWAV/{name}": ""})
    if demographics is not None:
        write_files(memory, {"VideoDemographics.csv": demographics})
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)
