from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import orchestration.readers
from orchestration.readers import READER_NAMES
from orchestration.readers.catalogue import READERS, read_corpus
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.manifest import segments
from ser_model.schema import ManifestError, SegmentError


def lay_out(folder: str, *files: str, **texts: str) -> None:
    """Write empty files (readers never look into audio), and texts by "stem_extension"."""
    for file in files:
        storage.write_atomic(storage.join(folder, file), b"")
    for name, text in texts.items():
        storage.write_atomic(storage.join(folder, ".".join(name.rsplit("_", 1))), text.encode())


def test_every_reader_is_listed_and_complete() -> None:
    folder = Path(orchestration.readers.__file__).parent
    modules = {
        path.stem: import_module(f"orchestration.readers.{path.stem}")
        for path in folder.glob("[a-z]*.py")
    }
    assert {n for n, m in modules.items() if hasattr(m, "LAYOUT")} == set(READER_NAMES)
    for reader in READERS.values():
        assert callable(reader.matches)
        assert callable(reader.read)
    assert READER_NAMES[-1] == "folder", "it fits whatever has audio"


def test_a_folder_with_a_table(folder: str) -> None:
    lay_out(
        folder,
        "a b/é%20.wav",
        "c.wav",
        labels_csv="file,speaker_id,mood\na b/é%20.wav,01,sad\nc.wav,02,\n",
    )
    corpus = read_corpus(folder)
    assert corpus.reader == "table"
    assert corpus.manifest.drop_columns(["start_s", "end_s"]).to_pylist() == [
        {
            "segment_id": "a b/é%20.wav",
            "recording": storage.join(folder, "a b/é%20.wav"),
            "speaker_id": "01",
            "mood": "sad",
        },
        {
            "segment_id": "c.wav",
            "recording": storage.join(folder, "c.wav"),
            "speaker_id": "02",
            "mood": None,
        },
    ]
    assert read_corpus(storage.join(folder, "labels.csv")) == corpus


def test_recordings_that_are_not_there_are_counted(folder: str) -> None:
    table = "file\n./a.wav\nb.wav\nc/d.wav\n../e.wav\n/f.wav\n"
    lay_out(folder, "a.wav", labels_csv=table)
    corpus = read_corpus(folder)
    assert len(corpus.manifest) == 5
    assert corpus.mismatches == (
        "2 of 5 segments name a recording that is not there, first b.wav: they will be rejected",
    )
    lay_out(folder, "b.wav", "c/d.wav")
    assert read_corpus(folder).mismatches == ()


@pytest.mark.parametrize("column", ["file", "path", "filename", "recording"])
def test_names_of_the_recording_column(memory: str, column: str) -> None:
    lay_out(memory, labels_csv=f"speaker_id,{column}\ns,a.wav\n")
    manifest = read_corpus(memory).manifest
    assert manifest["recording"].to_pylist() == [storage.join(memory, "a.wav")]


def test_truth_is_mapped(memory: str) -> None:
    lay_out(memory, labels_csv="file,arousal\na.wav,4\n")
    assert read_corpus(memory, truth_range=(1, 7)).manifest["arousal"].to_pylist() == [0.5]
    with pytest.raises(ManifestError, match="outside 0:1"):
        read_corpus(memory)


def test_two_tables_are_one_too_many(memory: str) -> None:
    lay_out(memory, a_csv="file\na.wav\n", b_csv="file\na.wav\n", notes_csv="day\nmonday\n")
    with pytest.raises(ManifestError, match=r"holds a\.csv, b\.csv; name the table itself"):
        read_corpus(memory)
    lay_out(memory, "a.wav")
    assert read_corpus(memory, reader="folder").manifest["segment_id"].to_pylist() == ["a.wav"]


def test_a_table_without_recordings(memory: str) -> None:
    lay_out(memory, labels_csv="name\na.wav\n")
    with pytest.raises(ManifestError, match="no column recording or file or path or filename"):
        read_corpus(storage.join(memory, "labels.csv"))


def test_a_plain_folder(folder: str) -> None:
    lay_out(folder, "b/c.MP3", "a.flac", "readme.txt", "b/notes.csv")
    corpus = read_corpus(folder)
    assert corpus.reader == "folder"
    assert corpus.manifest["segment_id"].to_pylist() == ["a.flac", "b/c.MP3"]
    assert corpus.manifest["recording"][1].as_py() == storage.join(folder, "b/c.MP3")


RTTM = """\
;; a comment
SPKR-INFO m1 1 <NA> <NA> <NA> unknown ann <NA> <NA>
SPEAKER m1 1 1.440 11.872 <NA> <NA> ann <NA> <NA>
SPEAKER m1 1 1.440 11.872 <NA> <NA> bob <NA> <NA>

SPEAKER m2 1 0 0.100000 <NA> <NA> ann <NA>
"""


def test_turns_may_overlap(folder: str) -> None:
    lay_out(folder, "m1.flac", "audio/m2.wav", turns_rttm=RTTM)
    corpus = read_corpus(folder)
    assert corpus.reader == "rttm"
    assert [tuple(row.values()) for row in corpus.manifest.to_pylist()] == [
        ("m1_ann_00001440_00013312", storage.join(folder, "m1.flac"), 1.44, 13.312, "ann"),
        ("m1_bob_00001440_00013312", storage.join(folder, "m1.flac"), 1.44, 13.312, "bob"),
        ("m2_ann_00000000_00000100", storage.join(folder, "audio/m2.wav"), 0.0, 0.1, "ann"),
    ]
    assert read_corpus(storage.join(folder, "turns.rttm")) == corpus


@pytest.mark.parametrize(
    ("files", "text", "message"),
    [
        (["m1.wav"], "SPEAKER m1 1 0 1 <NA> <NA> ann\nSPEAKER m1 1 zero 1 <NA> <NA> ann", "line 2"),
        (["m1.wav"], "SPEAKER m1 1 0 1", "line 1 is no speaker turn"),
        (["m1.wav"], "SPEAKER m2 1 0 1 <NA> <NA> ann", "'m2' should be one audio file.* is none"),
        (["m1.wav", "b/m1.wav"], "SPEAKER m1 1 0 1 <NA> <NA> a", r"is b/m1\.wav, m1\.wav"),
        (["m1.wav"], "SPKR-INFO m1 1 <NA>", "no speaker turn"),
        (["m1.wav"], "SPEAKER m1 1 0 1 x x a\nSPEAKER m1 1 0 1 x x a", "row 2: segment_id"),
    ],
)
def test_broken_turns(memory: str, files: list[str], text: str, message: str) -> None:
    lay_out(memory, *files, turns_rttm=text)
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


def test_an_empty_corpus(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds nothing that a reader knows"):
        read_corpus(str(tmp_path))
    with pytest.raises(ManifestError, match="holds no audio file"):
        read_corpus(str(tmp_path), reader="folder")
    with pytest.raises(ManifestError, match="absent does not exist"):
        read_corpus(str(tmp_path / "absent"))
    lay_out(str(tmp_path), labels_csv="file,speaker_id\n")
    with pytest.raises(ManifestError, match="has no rows"):
        read_corpus(str(tmp_path))


@pytest.mark.real_data
def test_meetings(real_data: Path) -> None:
    corpus = read_corpus(str(real_data / "meetings"))
    assert corpus.reader == "rttm"
    turns = segments(corpus.manifest)
    assert len(turns) == 121
    by_recording: dict[str, list] = {}
    for turn in turns:
        by_recording.setdefault(turn.recording, []).append(turn)
    assert len(by_recording) == 14
    for recording, of_recording in by_recording.items():
        for turn, waveform in read_segments(recording, of_recording):
            assert not isinstance(waveform, SegmentError), waveform
            assert len(waveform) / 16_000 == pytest.approx(turn.end_s - turn.start_s, abs=0.06)
