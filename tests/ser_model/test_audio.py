from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_model import audio_file, storage
from ser_model.audio import (
    MIN_SAMPLES,
    SAMPLING_RATE_HZ,
    decode_audio,
    encode_flac,
    open_recording,
    read_segments,
    stream_16_khz,
)
from ser_model.audio_file import BLOCK_S
from ser_model.schema import Reason, Segment, SegmentError, Stage, UnfinishedError

WriteRecording = Callable[..., str]


def segment(recording: str, start_s: float = 0.0, end_s: float | None = None) -> Segment:
    return Segment(
        segment_id=f"{start_s}-{end_s}", recording=recording, start_s=start_s, end_s=end_s
    )


def read_one(
    recording: str, start_s: float = 0.0, end_s: float | None = None
) -> np.ndarray | SegmentError:
    ((_, result),) = read_segments(recording, [segment(recording, start_s, end_s)])
    return result


def reason(result: np.ndarray | SegmentError) -> tuple[Stage, Reason] | None:
    return (result.stage, result.reason) if isinstance(result, SegmentError) else None


def tone(duration_s: float, sampling_rate_hz: int, frequency_hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(round(duration_s * sampling_rate_hz)) / sampling_rate_hz
    return 0.5 * np.sin(2 * np.pi * frequency_hz * time_s)


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_16_khz_mono_is_taken_as_it_is(
    folder: str, write_recording: WriteRecording, extension: str
) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 20_000).astype(np.int16)
    recording = write_recording(storage.join(folder, f"a b%20é.{extension}"), samples=samples)
    waveform = read_one(recording, 0.25, 1.0)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, samples[4_000:16_000] / np.float32(32768))


@pytest.mark.parametrize("extension", ["ogg", "mp3", "aiff"])
def test_other_formats(tmp_path: Path, write_recording: WriteRecording, extension: str) -> None:
    recording = write_recording(tmp_path / f"a.{extension}", samples=tone(2.0, 16_000))
    waveform = read_one(recording, 0.5, 1.5)
    assert len(waveform) == 16_000
    assert np.corrcoef(waveform, tone(2.0, 16_000)[8_000:24_000])[0, 1] > 0.99


@pytest.mark.parametrize("sampling_rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_resampling(tmp_path: Path, write_recording: WriteRecording, sampling_rate_hz: int) -> None:
    recording = write_recording(
        tmp_path / "a.wav",
        samples=tone(2.0, sampling_rate_hz),
        sampling_rate_hz=sampling_rate_hz,
        subtype="FLOAT",
    )
    waveform = read_one(recording, 0.0, 2.0)
    assert len(waveform) == 32_000
    expected = tone(2.0, 16_000)
    inner = slice(800, -800)  # the filter needs some samples on either side
    np.testing.assert_allclose(waveform[inner], expected[inner], atol=1e-3)


def test_channels_are_averaged(tmp_path: Path, write_recording: WriteRecording) -> None:
    left, right = tone(1.0, 16_000, 300.0), tone(1.0, 16_000, 700.0)
    recording = write_recording(
        tmp_path / "a.wav", samples=np.stack([left, right], axis=1), subtype="FLOAT"
    )
    np.testing.assert_allclose(read_one(recording), (left + right) / 2, atol=1e-6)


def test_float_samples_above_1_are_kept(tmp_path: Path, write_recording: WriteRecording) -> None:
    recording = write_recording(tmp_path / "a.wav", samples=3 * tone(1.0, 16_000), subtype="FLOAT")
    assert np.max(read_one(recording)) == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("sampling_rate_hz", [16_000, 44_100])
def test_a_segment_does_not_depend_on_its_neighbours(
    tmp_path: Path, write_recording: WriteRecording, sampling_rate_hz: int
) -> None:
    recording = write_recording(
        tmp_path / "a.flac", duration_s=11.0, sampling_rate_hz=sampling_rate_hz, num_channels=2
    )
    times = [(0.0, 0.5), (0.3, 9.7), (3.9, 4.1), (3.9, 4.1), (10.0, None), (0.0, None), (7.5, 8.0)]
    wanted = [segment(recording, *time) for time in times]
    together = list(read_segments(recording, wanted))
    assert sorted(s.segment_id for s, _ in together) == sorted(s.segment_id for s in wanted)
    for one, waveform in together:
        np.testing.assert_array_equal(waveform, read_one(recording, one.start_s, one.end_s))


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_segments_are_cuts_of_the_whole(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    num_samples = round(2.5 * BLOCK_S * SAMPLING_RATE_HZ)
    path = tmp_path_factory.getbasetemp() / "whole.wav"
    whole = np.random.default_rng(0).integers(-99, 99, num_samples).astype(np.int16)
    if not path.exists():
        sf.write(path, whole, SAMPLING_RATE_HZ)
    bounds = st.tuples(st.integers(0, num_samples), st.integers(0, num_samples))
    cuts = data.draw(st.lists(bounds.map(sorted), min_size=1, max_size=8))
    wanted = [segment(str(path), a / SAMPLING_RATE_HZ, b / SAMPLING_RATE_HZ) for a, b in cuts]
    results = list(read_segments(str(path), wanted))
    assert sorted(s.segment_id for s, _ in results) == sorted(s.segment_id for s in wanted)
    for one, result in results:
        a, b = round(one.start_s * SAMPLING_RATE_HZ), round(one.end_s * SAMPLING_RATE_HZ)
        if b == a:
            assert reason(result) == (Stage.SEGMENT, Reason.END_BEFORE_START)
        elif b - a < MIN_SAMPLES:
            assert reason(result) == (Stage.SEGMENT, Reason.TOO_SHORT)
        else:
            np.testing.assert_array_equal(result, whole[a:b] / np.float32(32768))


def test_one_open_and_one_pass(
    tmp_path: Path, write_recording: WriteRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = write_recording(tmp_path / "a.flac", duration_s=60.0)
    opened: list[str] = []
    num_frames_read: list[int] = []

    def open_binary(uri: str, real: Callable[[str], object] = storage.open_binary) -> object:
        opened.append(uri)
        return real(uri)

    class CountingSoundFile(audio_file._SequentialSoundFile):
        def read(self, *args: object, **kwargs: object) -> np.ndarray:
            frames = super().read(*args, **kwargs)
            num_frames_read.append(len(frames))
            return frames

        def seek(self, *args: object, **kwargs: object) -> int:
            raise AssertionError("a sequential pass seeks nowhere")

    monkeypatch.setattr(storage, "open_binary", open_binary)
    monkeypatch.setattr(audio_file, "_SequentialSoundFile", CountingSoundFile)
    wanted = [segment(recording, start / 10, start / 10 + 2.0) for start in range(500)]
    assert len(list(read_segments(recording, wanted))) == 500
    assert opened == [recording]
    # The last segment ends at 51.9 s: nothing is read twice, and nothing behind its block.
    assert sum(num_frames_read) == 52 * SAMPLING_RATE_HZ


def test_only_open_segments_are_kept(tmp_path: Path, write_recording: WriteRecording) -> None:
    import tracemalloc

    recording = write_recording(tmp_path / "a.wav", duration_s=600.0)  # 38 MB as float32
    wanted = [segment(recording, float(start), start + 1.0) for start in range(600)]
    tracemalloc.start()
    for _ in read_segments(recording, wanted):
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (1.0, 0.5, Reason.END_BEFORE_START),
        (1.0, 1.0, Reason.END_BEFORE_START),
        (0.0, float("nan"), Reason.END_BEFORE_START),
        (2.0, None, Reason.BEYOND_END),
        (9.0, 10.0, Reason.BEYOND_END),
        (1.0, 2.06, Reason.BEYOND_END),
        (0.0, float("inf"), Reason.BEYOND_END),
        (-0.5, 1.0, Reason.BEYOND_END),
        (float("nan"), None, Reason.BEYOND_END),
        (1.0, 1.01, Reason.TOO_SHORT),
        (1.99999, 2.0, Reason.TOO_SHORT),
    ],
)
def test_segments_that_are_rejected(
    tmp_path: Path,
    write_recording: WriteRecording,
    start_s: float,
    end_s: float | None,
    expected: Reason,
) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=2.0)
    good = segment(recording, 0.0, 1.0)
    results = dict(read_segments(recording, [segment(recording, start_s, end_s), good]))
    assert len(results.pop(good)) == 16_000
    (result,) = results.values()
    assert reason(result) == (Stage.SEGMENT, expected)


def test_an_end_that_was_rounded_up_is_cut(tmp_path: Path, write_recording: WriteRecording) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=2.0)
    assert len(read_one(recording, 1.0, 2.04)) == 16_000


def test_recordings_that_cannot_be_read(folder: str) -> None:
    contents = {"empty.wav": b"", "text.wav": b"just some text\n" * 99, "tiny.wav": b"RIFF"}
    for name, content in contents.items():
        storage.write_atomic(storage.join(folder, name), content)
    expected = {
        "empty.wav": (Stage.READ, Reason.EMPTY_RECORDING),
        "text.wav": (Stage.DECODE, Reason.NOT_AUDIO),
        "tiny.wav": (Stage.DECODE, Reason.NOT_AUDIO),
        "absent.wav": (Stage.READ, Reason.RECORDING_NOT_FOUND),
    }
    for name, why in expected.items():
        uri = storage.join(folder, name)
        results = list(read_segments(uri, [segment(uri), segment(uri, 1.0, 2.0)]))
        assert [reason(result) for _, result in results] == [why, why]
        assert uri in results[0][1].detail


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    assert reason(read_one(str(tmp_path))) == (Stage.READ, Reason.RECORDING_UNREADABLE)


def test_a_recording_without_samples(tmp_path: Path, write_recording: WriteRecording) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=0.0)
    assert reason(read_one(recording)) == (Stage.READ, Reason.EMPTY_RECORDING)


@pytest.mark.parametrize("extension", ["wav", "flac", "aiff"])
def test_a_truncated_recording_keeps_what_is_whole(
    folder: str, write_recording: WriteRecording, extension: str
) -> None:
    recording = write_recording(storage.join(folder, f"a.{extension}"), duration_s=10.0)
    data = storage.read_bytes(recording)
    storage.write_atomic(recording, data[: len(data) // 2])
    wanted = [
        segment(recording, *time) for time in [(0.0, 4.0), (4.0, 6.0), (7.0, 8.0), (0.0, None)]
    ]
    results = {s.start_s + (s.end_s or 99): r for s, r in read_segments(recording, wanted)}
    assert len(results.pop(4.0)) == 64_000
    truncated = (Stage.DECODE, Reason.TRUNCATED)
    assert [reason(result) for result in results.values()] == [truncated] * 3
    assert "promises 10.000 s and breaks off at" in results[99.0].detail


def test_a_wav_of_unknown_length_is_read_to_its_end(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=2.0)
    data = bytearray(storage.read_bytes(recording))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"  # as ffmpeg writes it into a pipe
    storage.write_atomic(recording, bytes(data))
    assert len(read_one(recording)) == 32_000
    assert reason(read_one(recording, 3.0, 4.0)) == (Stage.SEGMENT, Reason.BEYOND_END)


def test_a_flac_of_unknown_length_is_read_to_its_end(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    recording = write_recording(tmp_path / "a.flac", duration_s=2.0)
    data = bytearray(storage.read_bytes(recording))
    # STREAMINFO: 36 bits of the number of samples end at byte 26; 0 means that it is not known.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    storage.write_atomic(recording, bytes(data))
    results = {
        s.start_s: result
        for s, result in read_segments(
            recording,
            [
                segment(recording, start, end)
                for start, end in [(0.0, None), (1.0, 1.5), (3.0, 4.0)]
            ],
        )
    }
    assert len(results[0.0]) == 32_000
    assert len(results[1.0]) == 8_000
    assert reason(results[3.0]) == (Stage.SEGMENT, Reason.BEYOND_END)
    storage.write_atomic(recording, bytes(data[: len(data) * 3 // 4]))
    assert len(read_one(recording, 0.0, 1.0)) == 16_000
    assert reason(read_one(recording, 1.0, 2.0)) is not None


def test_nan_rejects_only_the_segments_that_hold_it(
    tmp_path: Path, write_recording: WriteRecording
) -> None:
    samples = tone(2.0, 16_000)
    samples[20_000] = np.nan
    recording = write_recording(tmp_path / "a.wav", samples=samples, subtype="FLOAT")
    assert len(read_one(recording, 0.0, 1.0)) == 16_000
    assert reason(read_one(recording, 1.0, 2.0)) == (Stage.DECODE, Reason.NOT_FINITE)


def test_a_store_that_fails_midway_is_not_taken_for_a_broken_file(
    tmp_path: Path, write_recording: WriteRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=60.0)
    real = audio_file._Source.readinto

    def readinto(source: audio_file._Source, buffer: bytearray | memoryview) -> int:
        if source.tell() > 1_000_000:
            source.error = OSError("connection reset")
            return 0
        return real(source, buffer)

    monkeypatch.setattr(audio_file._Source, "readinto", readinto)
    assert len(read_one(recording, 0.0, 1.0)) == 16_000
    result = read_one(recording, 0.0, 59.0)
    assert reason(result) == (Stage.READ, Reason.RECORDING_UNREADABLE)
    assert "connection reset" in result.detail


def test_flac_clips_what_16_bit_cannot_hold() -> None:
    waveform = np.linspace(-2, 2, 1_000, dtype=np.float32)
    decoded = decode_audio(encode_flac(waveform))
    np.testing.assert_allclose(decoded, np.clip(waveform, -1, 1), atol=1 / 32768)


def test_decode_audio_says_what_is_wrong() -> None:
    data = encode_flac(np.zeros(16_000, np.float32))
    for broken, why in [
        (b"", Reason.EMPTY_RECORDING),
        (b"text", Reason.NOT_AUDIO),
        (data[:100], Reason.TRUNCATED),
        (encode_flac(np.zeros(399, np.float32)), Reason.TOO_SHORT),
    ]:
        with pytest.raises(SegmentError) as caught:
            decode_audio(broken)
        assert caught.value.reason == why


@pytest.mark.real_data
def test_real_recordings_come_back_bit_for_bit(real_data: Path) -> None:
    for path in sorted((real_data / "meetings").glob("*.flac"))[:3]:
        samples, sampling_rate_hz = sf.read(path, dtype="float32")
        assert sampling_rate_hz == SAMPLING_RATE_HZ
        waveform = read_one(str(path))
        np.testing.assert_array_equal(waveform, samples)
        np.testing.assert_array_equal(decode_audio(encode_flac(waveform)), samples)


def test_an_outage_of_the_store_is_not_taken_for_a_broken_file(
    tmp_path: Path, write_recording: WriteRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = write_recording(tmp_path / "a.wav", duration_s=60.0)

    class Outage(io.FileIO):
        def readinto(self, buffer: bytearray) -> int:
            if self.tell() > self.gone_at:
                raise UnfinishedError("the store does not answer")
            return super().readinto(buffer)

    for gone_at in (-1, 1_000_000):
        monkeypatch.setattr(Outage, "gone_at", gone_at, raising=False)
        monkeypatch.setattr(storage, "open_binary", lambda uri: Outage(uri))
        with pytest.raises(UnfinishedError, match="does not answer"):
            read_one(recording)


@pytest.mark.parametrize("sampling_rate_hz", [8_000, 16_000, 44_100])
def test_a_stream_is_the_whole_recording(
    tmp_path: Path, write_recording: WriteRecording, sampling_rate_hz: int
) -> None:
    recording = write_recording(
        tmp_path / "a.flac", duration_s=10.3, sampling_rate_hz=sampling_rate_hz, num_channels=2
    )
    with open_recording(recording) as file:
        assert file.num_frames == round(10.3 * sampling_rate_hz)
        streamed = np.concatenate(list(stream_16_khz(file)))
    np.testing.assert_array_equal(streamed, read_one(recording))


def test_a_stream_that_breaks_off_says_so(tmp_path: Path, write_recording: WriteRecording) -> None:
    recording = write_recording(tmp_path / "a.flac", duration_s=10.0)
    data = storage.read_bytes(recording)
    storage.write_atomic(recording, data[: len(data) // 2])
    with open_recording(recording) as file, pytest.raises(SegmentError) as caught:
        list(stream_16_khz(file))
    assert caught.value.reason == Reason.TRUNCATED
