from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.manifest import segments
from ser_model.schema import ManifestError, SegmentError


def all_names() -> list[str]:
    """The audio of the release: speech of 24 actors, song of all but Actor_18."""
    emotions = {"01": range(1, 9), "02": range(1, 7)}  # songs have neither disgust nor surprise
    return [
        f"Actor_{actor:02d}/03-{channel}-{emotion:02d}-{intensity:02d}"
        f"-{statement:02d}-{repetition:02d}-{actor:02d}.wav"
        for actor in range(1, 25)
        for channel, of_channel in emotions.items()
        if not (channel == "02" and actor == 18)
        for emotion in of_channel
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]


def test_ravdess(folder: str, write_files: Callable[..., None]) -> None:
    write_files(
        folder,
        {
            "Actor_12/03-01-06-02-02-01-12.wav": "",
            "a/03-02-03-01-01-02-01.WAV": "",
            "notes.txt": "",
        },
    )
    corpus = read_corpus(folder)
    assert corpus.reader == "ravdess"
    columns = corpus.manifest.drop_columns(["start_s", "end_s", "segment_id"]).to_pylist()
    assert columns == [
        {
            "recording": storage.join(folder, "Actor_12/03-01-06-02-02-01-12.wav"),
            "speaker_id": "Actor_12",
            "sex": "female",
            "language": "eng",
            "emotion": "fear",
            "intensity": "strong",
            "statement": "dogs",
            "transcript": "Dogs are sitting by the door",
            "repetition": "1",
            "channel": "speech",
            "modality": "audio",
        },
        {
            "recording": storage.join(folder, "a/03-02-03-01-01-02-01.WAV"),
            "speaker_id": "Actor_01",
            "sex": "male",
            "language": "eng",
            "emotion": "happiness",
            "intensity": "normal",
            "statement": "kids",
            "transcript": "Kids are talking by the door",
            "repetition": "2",
            "channel": "song",
            "modality": "audio",
        },
    ]
    assert [text.partition(" (")[0] for text in corpus.mismatches] == [
        "expected 1440 segments by 24 speakers",
        "expected 1012 segments by 23 speakers",
    ]


def test_the_whole_release_is_as_expected(memory: str, write_files: Callable[..., None]) -> None:
    names = all_names()
    write_files(memory, dict.fromkeys(names, ""))
    corpus = read_corpus(memory)
    assert len(corpus.manifest) == 1440 + 1012
    assert corpus.mismatches == ()


def test_speech_without_song_is_no_mismatch(memory: str, write_files: Callable[..., None]) -> None:
    speech = [name for name in all_names() if "/03-01-" in name]
    write_files(memory, dict.fromkeys(speech[1:], ""))
    (mismatch,) = read_corpus(memory).mismatches
    assert "(RAVDESS, speech; Livingstone & Russo 2018), found 1439 by 24" in mismatch


@pytest.mark.parametrize("stray", ["03-01-09-01-01-01-01.wav", "03-01-01-01-01-01-25.wav", "x.wav"])
def test_a_stray_file_is_named(memory: str, write_files: Callable[..., None], stray: str) -> None:
    write_files(
        memory, {"03-01-01-01-01-01-01.wav": "", "03-01-01-01-01-01-02.wav": "", f"b/{stray}": ""}
    )
    with pytest.raises(ManifestError, match=f"b/{stray} is not named as the audio of RAVDESS"):
        read_corpus(memory)


def test_one_such_name_among_others_makes_no_ravdess(
    memory: str, write_files: Callable[..., None]
) -> None:
    write_files(memory, {"03-01-01-01-01-01-01.wav": "", "x.wav": ""})
    assert read_corpus(memory).reader == "folder"
    with pytest.raises(ManifestError, match="no audio file of RAVDESS"):
        read_corpus(storage.join(memory, "x.wav"), reader="ravdess")


@pytest.mark.real_data
def test_real_recordings(real_data: Path) -> None:
    folder = real_data / "ravdess"
    corpus = read_corpus(str(folder))
    assert corpus.reader == "ravdess"
    assert corpus.mismatches == ()
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    durations_s = {row["file"]: float(row.pop("duration_s")) for row in rows}
    columns = list(rows[0])[1:]
    assert corpus.manifest.select(["segment_id", *columns]).to_pylist() == [
        {"segment_id": row.pop("file"), **row} for row in rows
    ]
    for segment in segments(corpus.manifest)[::100]:
        ((_, waveform),) = read_segments(segment.recording, [segment])
        assert not isinstance(waveform, SegmentError)
        assert len(waveform) / 16_000 == pytest.approx(durations_s[segment.segment_id], abs=1e-3)
