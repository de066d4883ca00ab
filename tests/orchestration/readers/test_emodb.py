from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.schema import ManifestError


def test_emodb(folder: str, write_files: Callable[..., None]) -> None:
    write_files(folder, {"wav/03a01Fa.wav": "", "wav/16b10N.wav": "", "erkennung.txt": "Satz"})
    corpus = read_corpus(folder)
    assert corpus.reader == "emodb"
    assert corpus.manifest.drop_columns(["start_s", "end_s", "recording"]).to_pylist() == [
        {
            "segment_id": "wav/03a01Fa.wav",
            "speaker_id": "03",
            "sex": "male",
            "age": 31.0,
            "language": "deu",
            "emotion": "happiness",
            "text": "a01",
            "transcript": "Der Lappen liegt auf dem Eisschrank.",
            "repetition": "a",
        },
        {
            "segment_id": "wav/16b10N.wav",
            "speaker_id": "16",
            "sex": "female",
            "age": 31.0,
            "language": "deu",
            "emotion": "neutral",
            "text": "b10",
            "transcript": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
            "repetition": None,
        },
    ]
    recording = corpus.manifest["recording"][0].as_py()
    assert recording == storage.join(folder, "wav/03a01Fa.wav")
    (mismatch,) = corpus.mismatches
    assert "expected 535 segments by 10 speakers (EmoDB" in mismatch


@pytest.mark.parametrize(
    ("letter", "emotion"),
    [
        ("W", "anger"),
        ("L", "boredom"),
        ("E", "disgust"),
        ("A", "fear"),
        ("F", "happiness"),
        ("T", "sadness"),
        ("N", "neutral"),
    ],
)
def test_emotions(memory: str, write_files: Callable[..., None], letter: str, emotion: str) -> None:
    write_files(memory, {f"08b01{letter}b.wav": ""})
    assert read_corpus(memory).manifest["emotion"].to_pylist() == [emotion]


@pytest.mark.parametrize("stray", ["04a01Fa.wav", "03a03Fa.wav", "03a01Xa.wav"])
def test_a_stray_file_is_named(memory: str, write_files: Callable[..., None], stray: str) -> None:
    write_files(memory, {"03a01Fa.wav": "", "03a01Nc.wav": "", stray: ""})
    with pytest.raises(ManifestError, match=rf"{stray} is not named as the audio of EmoDB"):
        read_corpus(memory)
