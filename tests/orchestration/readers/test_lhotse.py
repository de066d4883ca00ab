"""Manifests as lhotse 1.33 writes them, and broken ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from orchestration.readers import json_lines
from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.schema import ManifestError

WriteFiles = Callable[..., None]


def recording(name: str, **fields: object) -> dict:
    return {
        "id": name,
        "sources": [{"type": "file", "channels": [0], "source": f"wav/{name}.wav"}],
        "sampling_rate": 16000,
        "num_samples": 32000,
        "duration": 2.0,
        "channel_ids": [0],
        **fields,
    }


def supervision(name: str, **fields: object) -> dict:
    times = {"start": 0.5, "duration": 1.0}
    return {"id": name, "recording_id": "a", **times, "channel": 0, **fields}


def cut(name: str, **fields: object) -> dict:
    times = {"start": 0.25, "duration": 1.5}
    return {
        "id": name,
        **times,
        "channel": 0,
        "supervisions": [],
        "recording": recording("a"),
        "type": "MonoCut",
        **fields,
    }


def lines(*objects: object) -> bytes:
    return "".join(json.dumps(content) + "\n" for content in objects).encode()


SPOKEN = supervision(
    "s1",
    text="hallo",
    language="German",
    speaker="7",
    gender="F",
    custom={"emotion": "anger", "arousal": 0.25, "frames": [1, 2]},
    alignment={"word": [["hallo", 0.5, 0.4]]},
)
FIRST = {
    "segment_id": "s1",
    "start_s": 0.5,
    "end_s": 1.5,
    "transcript": "hallo",
    "language": "German",
    "speaker_id": "7",
    "gender": "F",
    "sex": "female",
    "emotion": "anger",
    "arousal": 0.25,
}
UNKNOWN = dict.fromkeys([*FIRST, "recording"])


def test_recordings_and_supervisions(folder: str, write_files: WriteFiles) -> None:
    write_files(
        folder,
        {
            "mini_recordings_dev.jsonl.gz": gzip.compress(lines(recording("a"), recording("b"))),
            "mini_supervisions_dev.jsonl": lines(
                SPOKEN, supervision("s2", start=1.25, duration=0.1, speaker="8", gender="male")
            ),
            "wav/a.wav": "",
            "wav/b.wav": "",
        },
    )
    corpus = read_corpus(folder)
    assert corpus.reader == "lhotse"
    assert corpus.mismatches == ()
    first, second = (storage.join(folder, f"wav/{name}.wav") for name in "ab")
    assert corpus.manifest.to_pylist() == [
        FIRST | {"recording": first},
        UNKNOWN
        | {"segment_id": "s2", "recording": first, "start_s": 1.25, "end_s": 1.35}
        | {"speaker_id": "8", "gender": "male", "sex": "male"},
        UNKNOWN | {"segment_id": "b", "recording": second},
    ]


def test_cuts(folder: str, write_files: WriteFiles) -> None:
    beyond = supervision("s2", start=1.0, duration=9.0, custom={"arousal": "high"})
    before = supervision("s3", start=-1.0, duration=1.5)
    write_files(
        folder,
        {
            "cuts.jsonl.gz": gzip.compress(
                lines(cut("c1", supervisions=[SPOKEN, beyond, before]), cut("c2"))
            )
        },
    )
    with pytest.raises(ManifestError, match="row 2: arousal 'high' is not a number"):
        read_corpus(folder)
    beyond.pop("custom")
    write_files(
        folder,
        {"cuts.jsonl.gz": gzip.compress(lines(cut("c1", supervisions=[SPOKEN, beyond, before])))},
    )
    write_files(folder, {"more_cuts.jsonl": lines(cut("c2"))})
    rows = read_corpus(folder).manifest.select(["segment_id", "start_s", "end_s"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("s1", 0.75, 1.75),
        ("s2", 1.25, 1.75),  # as far as the cut
        ("s3", 0.25, 0.75),
        ("c2", 0.25, 1.75),
    ]
    (row,) = read_corpus(storage.join(folder, "more_cuts.jsonl")).manifest.to_pylist()
    assert row["recording"] == storage.join(folder, "wav/a.wav")


def test_all_channels_of_a_recording_are_heard(memory: str, write_files: WriteFiles) -> None:
    source = {"type": "file", "channels": [0, 1], "source": "c.wav"}
    stereo = {"recordings.jsonl": lines(recording("a", sources=[source]))}
    write_files(memory, stereo | {"supervisions.jsonl": lines(supervision("s", channel=[0, 1]))})
    assert read_corpus(memory).manifest["segment_id"].to_pylist() == ["s"]
    write_files(memory, {"supervisions.jsonl": lines(supervision("s", channel=1))})
    with pytest.raises(ManifestError, match=r"supervisions\.jsonl, line 1: channel 1 is one of 2"):
        read_corpus(memory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (recording("a", sources=[]), "line 2: the recording is not one file"),
        (
            recording("a", sources=[{"type": "command", "source": "rm"}]),
            "line 2: the recording is of type 'command'",
        ),
        (recording("a", transforms=[{"name": "Speed"}]), "line 2: the recording has transforms"),
        (recording("b"), r"line 2: recording 'b' is that of .*recordings\.jsonl, line 1 too"),
        (recording(""), "line 2: id '' is no text"),
        ([1], "line 2 is no JSON object"),
    ],
)
def test_broken_recordings(
    memory: str, write_files: WriteFiles, content: object, message: str
) -> None:
    write_files(
        memory,
        {
            "recordings.jsonl": lines(recording("b"), content),
            "supervisions.jsonl": lines(supervision("s")),
        },
    )
    with pytest.raises(ManifestError, match=rf"recordings\.jsonl, {message}"):
        read_corpus(memory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (supervision("s", recording_id="z"), "recording 'z' is in no recordings file"),
        (supervision("s", start="0"), "start '0' is no number"),
        (supervision("s", duration=True), "duration True is no number"),
    ],
)
def test_broken_supervisions(
    memory: str, write_files: WriteFiles, content: object, message: str
) -> None:
    write_files(memory, {"recordings.jsonl": lines(recording("a"))})
    write_files(memory, {"supervisions.jsonl": lines(content)})
    with pytest.raises(ManifestError, match=rf"supervisions\.jsonl, line 1: {message}"):
        read_corpus(memory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cut("c", type="MixedCut"), "this is no MonoCut or MultiCut with a recording"),
        (cut("c", recording=None), "the recording is no object"),
        (cut("c", supervisions=[7]), "the supervision is no object"),
    ],
)
def test_broken_cuts(memory: str, write_files: WriteFiles, content: object, message: str) -> None:
    write_files(memory, {"cuts.jsonl": lines(content)})
    with pytest.raises(ManifestError, match=rf"cuts\.jsonl, line 1: {message}"):
        read_corpus(memory)


def test_a_manifest_of_such_a_name_stays_a_table(memory: str, write_files: WriteFiles) -> None:
    write_files(memory, {"recordings.jsonl": lines({"recording": "a.wav"}), "a.wav": ""})
    assert read_corpus(memory).reader == "table"
    assert read_corpus(storage.join(memory, "recordings.jsonl")).reader == "table"
    write_files(memory, {"cuts.jsonl": lines({"recording": "a.wav"})})
    assert read_corpus(storage.join(memory, "cuts.jsonl")).reader == "table"


def test_cuts_beside_recordings_are_one_too_many(memory: str, write_files: WriteFiles) -> None:
    write_files(memory, {"cuts.jsonl": lines(cut("c")), "recordings.jsonl": lines(recording("a"))})
    with pytest.raises(ManifestError, match=r"name the file of the cuts, cuts\.jsonl"):
        read_corpus(memory)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"id": ', "line 1 is no JSON"),
        (gzip.compress(lines(cut("c")) * 9)[:-4], "cannot be read"),
        (b"\x1f\x8b" + bytes(40), "after line 0: cannot be read"),
        (gzip.compress(b" " * 2000), "line 1: longer than is read"),
        (gzip.compress(b"\n" * 5000), "line 4001: longer than is read"),
        (b"", "no line"),
    ],
)
def test_broken_files(
    memory: str,
    write_files: WriteFiles,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    message: str,
) -> None:
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(json_lines, "MAX_BYTES", 4000)
    name = "cuts.jsonl.gz" if data[:1] == b"\x1f" else "cuts.jsonl"
    write_files(memory, {name: data})
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)
