from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from orchestration.readers.catalogue import read_corpus
from orchestration.readers.cmu_mosi_folds import SPLIT_BY_VIDEO
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.manifest import segments
from ser_model.schema import ManifestError, SegmentError

WriteRecording = Callable[..., str]

TRAIN, DEV, TEST = "2iD-tVS8NPw", "_dI--eQ6qVU", "tmZoasNr4rU"
LABELS = f"""\
0.1,0.5,{TRAIN},1,2.4
0.5,0.9,{TRAIN},2,-3.0
0.1,0.3,{DEV},1,0
0.2,0.8,{TEST},12,3
"""
IDS = [f"{TRAIN}_1", f"{TRAIN}_2", f"{DEV}_1", f"{TEST}_12"]
LABEL_FILE = "Raw/Labels/OpinionLevelSentiment.csv"


def put(folder: str, file: str, text: str) -> None:
    storage.write_atomic(storage.join(folder, file), text.encode())


@pytest.fixture
def corpus(folder: str, write_recording: WriteRecording) -> str:
    put(folder, LABEL_FILE, LABELS)
    transcripts = "Raw/Transcript/Segmented"
    put(folder, f"{transcripts}/{TRAIN}.annotprocessed", "1_DELIM_A GREAT FILM\n2_DELIM_\n")
    put(folder, f"{transcripts}/{TEST}.annotprocessed", "1_DELIM_NO\n12_DELIM_GO _AND_ SEE IT\n")
    for segment_id in IDS:
        file = f"Raw/Audio/WAV_16000/Segmented/{segment_id}.wav"
        write_recording(storage.join(folder, file), duration_s=0.1)
    put(folder, f"Raw/Audio/WAV_16000/Full/{TRAIN}.wav", "a video whose segments are there")
    return folder


def test_opinions(corpus: str) -> None:
    found = read_corpus(corpus)
    assert found.reader == "cmu_mosi"
    manifest = found.manifest
    assert manifest["segment_id"].to_pylist() == IDS
    assert manifest["speaker_id"].to_pylist() == [TRAIN, TRAIN, DEV, TEST]
    assert manifest["split"].to_pylist() == ["train", "train", "dev", "test"]
    assert manifest["valence"].to_pylist() == pytest.approx([0.9, 0.0, 0.5, 1.0])
    assert manifest["transcript"].to_pylist() == ["A GREAT FILM", None, None, "GO _AND_ SEE IT"]
    assert manifest["sex"].to_pylist() == [None] * 4
    assert manifest["start_s"].null_count == 4
    for segment in segments(manifest):
        ((_, waveform),) = read_segments(segment.recording, [segment])
        assert not isinstance(waveform, SegmentError)
    assert [text.partition(":")[0] for text in found.mismatches] == [
        "expected 2199 segments (CMU-MOSI; Zadeh et al. 2016), found 4",
        "expected 685 segments (CMU-MOSI, test; Wagner et al. 2023, III-C), found 1",
    ]


def test_whole_videos(memory: str, write_recording: WriteRecording) -> None:
    put(memory, LABEL_FILE, LABELS)
    for video in (TRAIN, DEV, TEST):
        write_recording(
            storage.join(memory, f"Raw/Audio/WAV_16000/Full/{video}.wav"), duration_s=1.0
        )
    manifest = read_corpus(memory).manifest
    assert manifest["start_s"].to_pylist() == [0.1, 0.5, 0.1, 0.2]
    assert manifest["end_s"].to_pylist() == [0.5, 0.9, 0.3, 0.8]
    assert manifest["recording"][3].as_py().endswith(f"/Full/{TEST}.wav")
    segment = segments(manifest)[3]
    ((_, waveform),) = read_segments(segment.recording, [segment])
    assert not isinstance(waveform, SegmentError)
    assert len(waveform) == 0.6 * 16_000


def test_a_segment_without_audio_is_counted(memory: str) -> None:
    put(memory, LABEL_FILE, LABELS)
    put(memory, f"Raw/Audio/WAV_16000/Segmented/{IDS[0]}.wav", "")
    found = read_corpus(memory)
    assert len(found.manifest) == 4
    assert found.mismatches[-1].startswith("3 of 4 segments name a recording that is not there")


@pytest.mark.parametrize(
    "annotation",
    [
        f"video_id,gender\n{TRAIN},female\n{TEST},Male\n",
        f"file,gender\nwav/{TRAIN}_1.wav,female\n{TRAIN}_2.wav,f\n{TEST}_12.wav,m\n",
    ],
)
def test_gender_is_read_where_there_is_an_annotation(corpus: str, annotation: str) -> None:
    put(corpus, "mosi-gender-annotation.csv", annotation)
    sexes = read_corpus(corpus).manifest["sex"].to_pylist()
    assert sexes == ["female", "female", None, "male"]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("clip,gender\na,female\n", r"gender\.csv needs a column segment or .*\(it has clip, gen"),
        ("video,gender\na,female\nb,\n", r"gender\.csv, row 2: gender None is not female or male"),
    ],
)
def test_broken_annotations_of_gender(corpus: str, annotation: str, message: str) -> None:
    put(corpus, "gender.csv", annotation)
    with pytest.raises(ManifestError, match=message):
        read_corpus(corpus)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({LABEL_FILE: "0.1,0.5,a,1\n"}, r"Sentiment\.csv, line 1 is not start, end"),
        ({LABEL_FILE: "0.1,0.5,a,1,2\n0.1,0.5,a,two,2\n"}, r"Sentiment\.csv, line 2 is not start"),
        ({LABEL_FILE: "0.1,0.5,a,1,4\n"}, r"row 1: valence 4\.0 is outside -3:3"),
        ({LABEL_FILE: LABELS, "b/OpinionLevelSentiment.csv": ""}, "should hold one .*, and holds"),
    ],
)
def test_broken_labels(memory: str, files: dict[str, str], message: str) -> None:
    put(memory, "Raw/Audio/WAV_16000/Segmented/a_1.wav", "")
    for file, text in files.items():
        put(memory, file, text)
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


def test_no_audio(memory: str) -> None:
    put(memory, LABEL_FILE, LABELS)
    with pytest.raises(ManifestError, match="holds no Audio/WAV_16000/Segmented"):
        read_corpus(memory, reader="cmu_mosi")


def test_the_standard_folds() -> None:
    assert Counter(SPLIT_BY_VIDEO.values()) == {"train": 52, "dev": 10, "test": 31}
    assert {len(video) for video in SPLIT_BY_VIDEO} == {11}
