from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.manifest import segments
from ser_model.schema import ManifestError, SegmentError

WriteRecording = Callable[..., str]

COLUMNS = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
ROWS = (
    ("MSP-PODCAST_0001_0008.wav", "N", "4.0", "1.0", "7.0", "12", "Male", "Train"),
    ("MSP-PODCAST_0001_0009.wav", "H", "4.6", "4.0", "4.0", "Unknown", "Unknown", "Development"),
    ("MSP-PODCAST_0023_0001.wav", "X", "2.5", "4.0", "4.0", "7", "Female", "Test1"),
    ("MSP-PODCAST_0023_0002.wav", "C", "2.5", "4.0", "4.0", "7", "Female", "Test2"),
)
CONSENSUS = "\n".join([COLUMNS, *map(",".join, ROWS)])
NAMES = [row[0] for row in ROWS]


def put(folder: str, file: str, text: str) -> None:
    storage.write_atomic(storage.join(folder, file), text.encode())


@pytest.fixture
def corpus(folder: str, write_recording: WriteRecording) -> str:
    root = storage.join(folder, "MSP-PODCAST-Publish-1.12")
    put(root, "Labels/labels_consensus.csv", CONSENSUS)
    put(root, "Labels/labels_detailed.csv", "FileName,WorkerID\n")
    old = "Previous_releases_information/previous_releases_info/v1.7"
    put(root, f"{old}/Labels/labels_concensus.csv", "of,an,older\nrelease,,\n")
    put(root, "Transcripts/MSP-PODCAST_0001_0008.txt", " Well,\nI  would. \n")
    storage.write_atomic(
        storage.join(root, "Transcripts/MSP-PODCAST_0001_0009.txt"), "Caf\xe9".encode("latin-1")
    )
    put(root, "Transcripts/MSP-PODCAST_9999_0001.txt", "of no turn")
    for name in NAMES:
        write_recording(storage.join(root, "Audios", name), duration_s=0.1)
    removed = "Previous_releases_information/files_removed_from_prev_versions"
    write_recording(storage.join(root, removed, NAMES[0]), duration_s=0.1)
    return root


def test_turns(corpus: str) -> None:
    found = read_corpus(corpus)
    assert found.reader == "msp_podcast"
    manifest = found.manifest
    first = manifest.drop_columns(["start_s", "end_s"]).to_pylist()[0]
    assert first == {
        "segment_id": "MSP-PODCAST_0001_0008",
        "recording": storage.join(corpus, "Audios/MSP-PODCAST_0001_0008.wav"),
        "speaker_id": "12",
        "sex": "male",
        "language": "eng",
        "split": "train",
        "split_set": "train",
        "transcript": "Well, I  would.",
        "emotion": "neutral",
        "emotion_4": "neutral",
        "arousal": 0.5,
        "dominance": 1.0,
        "valence": 0.0,
    }
    assert manifest["speaker_id"].to_pylist() == ["12", None, "7", "7"]
    assert manifest["sex"].to_pylist() == ["male", None, "female", "female"]
    assert manifest["split"].to_pylist() == ["train", "dev", "test", "test"]
    assert manifest["split_set"].to_pylist() == ["train", "dev", "test-1", "test-2"]
    assert manifest["emotion"].to_pylist() == ["neutral", "happiness", None, "contempt"]
    assert manifest["emotion_4"].to_pylist() == ["neutral", "happiness", None, None]
    assert manifest["transcript"].to_pylist()[1:] == ["Caf\ufffd", None, None]
    assert manifest["arousal"][1].as_py() == pytest.approx(0.6)
    for segment in segments(manifest):
        ((_, waveform),) = read_segments(segment.recording, [segment])
        assert not isinstance(waveform, SegmentError)
    assert found.mismatches == (
        "expected 12902 segments by 60 speakers (MSP-Podcast 1.7, test-1; Wagner et al. 2023, "
        "III-C), found 1 by 1: files are missing or the release differs",
    )


def test_json_says_the_same(corpus: str, memory: str) -> None:
    expected = read_corpus(corpus).manifest
    numbers = {"EmoAct", "EmoVal", "EmoDom"}
    columns = COLUMNS.split(",")[1:]
    by_name = {
        name: {
            c: float(v) if c in numbers else int(v) if v.isdigit() else v
            for c, v in zip(columns, row, strict=True)
        }
        for name, *row in ROWS
    }
    put(memory, "json/Labels/labels_concensus.json", json.dumps(by_name))
    for name in NAMES:
        put(memory, f"json/Audio/{name}", "")
    found = read_corpus(storage.join(memory, "json")).manifest
    apart = ["recording", "transcript"]
    assert found.drop_columns(apart) == expected.drop_columns(apart)
    assert found["recording"][0].as_py().endswith(f"/Audio/{NAMES[0]}")


def test_splits_and_speakers_of_files_of_their_own(memory: str) -> None:
    rows = [",".join(row[:5]) for row in ROWS]
    put(memory, "Labels/labels_consensus.csv", "\n".join([COLUMNS.rsplit(",", 3)[0], *rows]))
    put(memory, "Partitions.txt", "".join(f"{row[7]}; {row[0]}\n" for row in ROWS[:3]))
    put(
        memory,
        "Speaker_ids.txt",
        "Speakers of the corpus\n\nSpeaker_12; Male\nSpeaker_7;Female;\n"
        + "".join(f"{row[0]}; {row[5]}\n" for row in ROWS),
    )
    manifest = read_corpus(memory).manifest
    assert manifest["split_set"].to_pylist() == ["train", "dev", "test-1", None]
    assert manifest["split"].to_pylist() == ["train", "dev", "test", None]
    assert manifest["speaker_id"].to_pylist() == ["12", None, "7", "7"]
    assert manifest["sex"].to_pylist() == ["male", None, "female", "female"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",N,", ",Q,", r"labels_consensus\.csv, row 1: EmoClass 'Q' is not one of A, C"),
        ("Test1", "Exam", r"labels_consensus\.csv, row 3: Split_Set 'Exam' is not one of Train"),
        ("Male", "none", r"labels_consensus\.csv, row 1: Gender 'none' is not one of"),
        ("4.6", "much", r"labels_consensus\.csv, row 2: EmoAct 'much' is not a number"),
        ("4.6", "7.5", r"row 2: arousal 7\.5 is outside 1:7"),
        (NAMES[2], "", r"labels_consensus\.csv, row 3: FileName is empty"),
        (NAMES[2], NAMES[0], "row 3: segment_id 'MSP-PODCAST_0001_0008' is that of row 1"),
        ("EmoDom", "Dominance", r"labels_consensus\.csv has no column EmoDom"),
    ],
)
def test_broken_labels(memory: str, old: str, new: str, message: str) -> None:
    put(memory, "Labels/labels_consensus.csv", CONSENSUS.replace(old, new))
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a.wav": 3}'])
def test_broken_json(memory: str, text: str) -> None:
    put(memory, "Labels/labels_consensus.json", text)
    with pytest.raises(ManifestError, match=r"consensus\.json is no JSON of labels by file name"):
        read_corpus(memory)


def test_no_labels(memory: str) -> None:
    put(memory, "Audios/a.wav", "")
    with pytest.raises(ManifestError, match=r"holds no Labels/labels_consensus\.csv"):
        read_corpus(memory, reader="msp_podcast")
