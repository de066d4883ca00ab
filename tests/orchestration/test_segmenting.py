"""Long recordings are cut so that nothing is lost, once for each run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
import soxr
from hypothesis import strategies as st

from orchestration import recordings, segmenting
from orchestration.cli import main
from orchestration.segmenting import Segmenting, segment_manifest, segmented_source
from orchestration.shards import plan_shards
from orchestration.voices import ESPEAK_SAMPLING_RATE_HZ, Voice
from ser_model import storage
from ser_model.manifest import check_manifest, read_manifest, write_manifest
from ser_model.schema import ConfigError, ManifestError, RunError

WriteRecording = Callable[..., str]


def manifest(folder: Path, rows: list[dict[str, object]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    return check_manifest(table, uri="m", folder=str(folder))


def times(table: pa.Table) -> list[tuple[float | None, float | None]]:
    return list(zip(table["start_s"].to_pylist(), table["end_s"].to_pylist(), strict=True))


def test_windows_cover_each_row_and_carry_its_metadata(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    write_recording(tmp_path / "talk.wav", duration_s=10.0)
    rows = [
        {"recording": "talk.wav", "speaker_id": "anna", "valence": 0.5, "transcript": "all of it"},
        {"recording": "talk.wav", "start_s": 1.0, "end_s": 3.0, "speaker_id": "ben"},
        {"recording": "talk.wav", "start_s": 2.0, "end_s": 6.5, "speaker_id": "cleo"},
    ]
    segmented = segment_manifest(manifest(tmp_path, rows), window_s=4.0, hop_s=2.0)
    table = segmented.table
    assert table.column_names == ["segment_id", "recording", "start_s", "end_s", "speaker_id"]
    assert times(table) == [
        (0.0, 4.0),
        (2.0, 6.0),
        (4.0, 8.0),
        (6.0, 10.0),
        (1.0, 3.0),
        (2.0, 6.0),
        (2.5, 6.5),
    ]
    assert table["speaker_id"].to_pylist() == 4 * ["anna"] + ["ben"] + 2 * ["cleo"]
    assert table["segment_id"].to_pylist()[0] == "talk.wav#t=0,4"
    assert table["segment_id"].to_pylist()[4] == "talk.wav#t=1,3#t=1,3"
    assert set(table["recording"].to_pylist()) == {str(tmp_path / "talk.wav")}
    assert (segmented.source_s, segmented.kept_s) == (16.5, 16.5)
    assert (segmented.num_uncut, segmented.num_silent) == (0, 0)


@hypothesis.settings(deadline=None)
@hypothesis.given(
    start_ms=st.integers(0, 10_000),
    length_ms=st.integers(30, 100_000),
    window_ms=st.integers(300, 20_000),
    hop_part=st.floats(0.1, 1.0),
)
def test_windows_lose_nothing(
    start_ms: int, length_ms: int, window_ms: int, hop_part: float
) -> None:
    settings = Segmenting(window_s=window_ms / 1000, hop_s=window_ms * hop_part / 1000)
    start, end = start_ms / 1000, (start_ms + length_ms) / 1000
    windows = segmenting._windows(start, end, settings)
    assert (windows[0][0], windows[-1][1]) == (start, end)
    for first, last in windows:
        expected_s = min(settings.window_s, length_ms / 1000)
        assert last - first == pytest.approx(expected_s, abs=1e-5)
    for (first, last), (following, _) in pairwise(windows):
        assert first < following <= last + 1e-5, windows


@pytest.mark.parametrize("length_s", [0.5, 30.0, 30.1, 61.0, 90.0])
def test_long_speech_is_cut_into_equal_parts(length_s: float) -> None:
    parts = segmenting._windows(1.0, 1.0 + length_s, Segmenting(vad=True))
    assert (parts[0][0], parts[-1][1]) == (1.0, 1.0 + length_s)
    assert len(parts) == {0.5: 1, 30.0: 1, 30.1: 2, 61.0: 3, 90.0: 3}[length_s]
    lengths = [last - first for first, last in parts]
    np.testing.assert_allclose(lengths, length_s / len(parts), atol=1e-5)
    assert all(a[1] == b[0] for a, b in pairwise(parts))


def test_what_cannot_be_cut_stays_and_is_rejected_by_scoring(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    write_recording(tmp_path / "talk.wav", duration_s=2.0)
    (tmp_path / "text.wav").write_text("no audio")
    rows = [
        {"segment_id": "gone", "recording": "gone.wav"},
        {"segment_id": "text", "recording": "text.wav"},
        {"segment_id": "good", "recording": "talk.wav"},
        {"segment_id": "late", "recording": "talk.wav", "start_s": 5.0},
        {"segment_id": "backwards", "recording": "talk.wav", "start_s": 1.0, "end_s": 0.5},
    ]
    segmented = segment_manifest(manifest(tmp_path, rows), window_s=1.0)
    assert segmented.num_uncut == 4
    ids = ["gone", "text", "good#t=0,1", "good#t=1,2", "late", "backwards"]
    assert segmented.table["segment_id"].to_pylist() == ids
    assert times(segmented.table)[0] == (None, None)
    uri = str(tmp_path / "segments.parquet")
    write_manifest(uri, segmented.table)
    plan = plan_shards(uri)
    results = {id_: audio for n in range(plan.num_shards) for id_, audio in plan.shard(n).read()}
    assert {id_: str(result.reason) for id_, result in results.items() if "#" not in id_} == {
        "gone": "recording_not_found",
        "text": "not_audio",
        "late": "beyond_end",
        "backwards": "end_before_start",
    }


def test_recordings_whose_rows_have_times_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "open_recording", None)
    rows = [{"recording": "gone.wav", "start_s": 1.0, "end_s": 4.0}]
    segmented = segment_manifest(manifest(tmp_path, rows), window_s=2.0)
    assert times(segmented.table) == [(1.0, 3.0), (2.0, 4.0)]


def test_a_recording_is_looked_into_once_and_read_to_its_end_if_it_must(
    tmp_path: Path, write_recording: WriteRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = write_recording(tmp_path / "a.flac", duration_s=5.0, sampling_rate_hz=8_000)
    data = bytearray(storage.read_bytes(uri))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO: the number of samples is not known
    storage.write_atomic(uri, bytes(data))
    opened: list[str] = []
    real = storage.open_binary

    def open_binary(uri: str) -> object:
        opened.append(uri)
        return real(uri)

    monkeypatch.setattr(storage, "open_binary", open_binary)
    rows = [{"recording": "a.flac"}, {"recording": "a.flac", "start_s": 1.0}]
    segmented = segment_manifest(manifest(tmp_path, rows), window_s=2.5)
    assert times(segmented.table) == [(0.0, 2.5), (2.5, 5.0), (1.0, 3.5), (2.5, 5.0)]
    assert opened == [uri]


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    with Voice("gmw/en+m3") as voice:
        spoken = voice.speak(
            "We met at the harbour, and walked along the old wall until it was dark.",
            rate_wpm=170,
            pitch=50,
            pitch_range=50,
        )
    return soxr.resample(spoken, ESPEAK_SAMPLING_RATE_HZ, 16_000)


def test_only_speech_is_kept(
    tmp_path: Path, write_recording: WriteRecording, sentence: np.ndarray
) -> None:
    silence = np.zeros(48_000, np.float32)
    spoken = np.concatenate([silence, sentence, silence, sentence, silence])
    write_recording(tmp_path / "talk.flac", samples=spoken)
    write_recording(tmp_path / "silence.flac", samples=silence)
    rows = [
        {"recording": "talk.flac"},
        {"recording": "silence.flac"},
        {"recording": "talk.flac", "start_s": 0.0, "end_s": 4.0},
        {"recording": "gone.flac"},
    ]
    table = manifest(tmp_path, rows)
    segmented = segment_manifest(table, vad=True)
    length_s = len(sentence) / 16_000
    found = times(segmented.table)
    np.testing.assert_allclose(
        found[:3],
        [(3.0, 3.0 + length_s), (6.0 + length_s, 6.0 + 2 * length_s), (3.0, 4.0)],
        atol=0.4,
    )
    assert found[3:] == [(None, None)]
    assert (segmented.num_silent, segmented.num_uncut) == (1, 1)
    assert "1 rows without speech" in segmented.summary
    windows = segment_manifest(table, window_s=2.0, hop_s=1.0, vad=True)
    assert windows.kept_s == segmented.kept_s
    for start, end in times(windows.table)[:-1]:
        assert any(a <= start and end <= b for a, b in found[:3])
    with pytest.raises(ManifestError, match="nobody speaks"):
        segment_manifest(table.slice(1, 1), vad=True)


def test_threads_do_not_change_the_order(
    tmp_path: Path, write_recording: WriteRecording, sentence: np.ndarray
) -> None:
    rows = []
    for number in range(9):
        silence = np.zeros(8_000 * (9 - number), np.float32)
        write_recording(
            tmp_path / f"{number}.flac", samples=np.concatenate([silence, sentence, silence])
        )
        rows.append({"recording": f"{number}.flac"})
    table = manifest(tmp_path, rows)
    segmented = segment_manifest(table, vad=True).table
    one_by_one = [segment_manifest(table.slice(n, 1), vad=True).table for n in range(9)]
    assert segmented.equals(pa.concat_tables(one_by_one).combine_chunks())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--window SECONDS"),
        ({"hop_s": 1.0, "vad": True}, "--hop needs --window"),
        ({"window_s": 0.01}, "--window 0.01"),
        ({"window_s": float("nan")}, "--window nan"),
        ({"window_s": float("inf")}, "--window inf"),
        ({"window_s": 4.0, "hop_s": 5.0}, "pass over audio"),
        ({"window_s": 4.0, "hop_s": 0.0}, "--hop 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Segmenting(**settings)


def test_a_run_is_cut_once(
    tmp_path: Path,
    folder: str,
    write_recording: WriteRecording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_recording(tmp_path / "talk.wav", duration_s=10.0)
    source = str(tmp_path / "manifest.csv")
    write_manifest(
        source,
        pa.table({"recording": ["talk.wav", "talk.wav"], "split": ["test", "train"],
                  "start_s": [0.0, 5.0], "end_s": [10.0, 10.0]}),
    )  # fmt: skip
    run = storage.join(folder, "run")
    settings = Segmenting(window_s=4.0, hop_s=2.0)
    uri = segmented_source(source, run, settings, split="test")
    assert uri == storage.join(run, "segments.parquet")
    written = storage.read_bytes(uri)
    assert times(read_manifest(uri)) == [(0.0, 4.0), (2.0, 6.0), (4.0, 8.0), (6.0, 10.0)]
    monkeypatch.setattr(segmenting, "segment_manifest", None)
    assert segmented_source(source, run, settings, split="test") == uri
    with pytest.raises(RunError, match="differs in hop_s"):
        segmented_source(source, run, Segmenting(window_s=4.0, hop_s=4.0), split="test")
    with pytest.raises(RunError, match="differs in source_sha256, split"):
        segmented_source(source, run, settings)
    assert storage.read_bytes(uri) == written


def test_only_recordings_can_be_cut(tmp_path: Path) -> None:
    storage.write_json(str(tmp_path / "packed" / "pack-plan.json"), {})
    for source in ("data.tar", "packed"):
        with pytest.raises(ConfigError, match="cut already"):
            segmented_source(str(tmp_path / source), str(tmp_path), Segmenting(window_s=1.0))


def test_the_command_cuts(
    tmp_path: Path, write_recording: WriteRecording, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "corpus" / "talk.wav", duration_s=10.0)
    output = str(tmp_path / "manifest.csv")
    command = ["manifest", str(tmp_path / "corpus"), "--output", output]
    assert main([*command, "--window", "4", "--hop", "3"]) == 0
    assert "kept 0.00 of 0.00 h" in capsys.readouterr().out
    assert times(read_manifest(output)) == [(0.0, 4.0), (3.0, 7.0), (6.0, 10.0)]
    assert main([*command, "--hop", "3"]) == 2
    assert "--hop needs --window" in capsys.readouterr().err
