"""Whatever comes ends in the waveform that it stands for, or in a reasoned rejection.

The known signal is two tones below 4 kHz, so that every sampling rate can hold it. It is compared
at 16 kHz, without the 50 ms at both ends that resampling filters and codecs need to settle.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ser_model import storage
from ser_model.audio import MIN_SAMPLES, SAMPLING_RATE_HZ, decode_audio, read_segments
from ser_model.schema import Reason, Segment, SegmentError, Stage

DURATION_S = 2.0
SETTLING_SAMPLES = 800


def signal(sampling_rate_hz: int, duration_s: float = DURATION_S) -> np.ndarray:
    time_s = np.arange(round(duration_s * sampling_rate_hz)) / sampling_rate_hz
    return 0.3 * np.sin(2 * np.pi * 440 * time_s) + 0.1 * np.sin(2 * np.pi * 1_000 * time_s)


def encode(samples: np.ndarray, sampling_rate_hz: int, file_format: str, subtype: str) -> bytearray:
    buffer = io.BytesIO()
    sf.write(buffer, samples, sampling_rate_hz, format=file_format, subtype=subtype)
    return bytearray(buffer.getvalue())


def outcome(data: bytes | bytearray) -> np.ndarray | tuple[Stage, Reason]:
    try:
        return decode_audio(bytes(data))
    except SegmentError as error:
        return error.stage, error.reason


def assert_is_signal(waveform: np.ndarray, tolerance: float, scale: float = 1.0) -> None:
    """Compare with the known signal; `tolerance` is the largest error that a sample may have."""
    assert waveform.dtype == np.float32
    assert len(waveform) == DURATION_S * SAMPLING_RATE_HZ
    inner = slice(SETTLING_SAMPLES, -SETTLING_SAMPLES)
    expected = scale * signal(SAMPLING_RATE_HZ)
    np.testing.assert_allclose(waveform[inner], expected[inner], atol=tolerance)


ANY_RATE = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
FORMATS = {
    # A step of quantization or what the codec loses, and what resampling adds.
    ("WAV", "PCM_U8"): (ANY_RATE, 0.012),
    ("WAV", "PCM_16"): (ANY_RATE, 2e-4),
    ("WAV", "PCM_24"): (ANY_RATE, 1e-4),
    ("WAV", "PCM_32"): (ANY_RATE, 1e-4),
    ("WAV", "FLOAT"): (ANY_RATE, 1e-4),
    ("WAV", "DOUBLE"): (ANY_RATE, 1e-4),
    ("WAV", "ULAW"): (ANY_RATE, 0.02),
    ("FLAC", "PCM_16"): (ANY_RATE, 2e-4),
    ("FLAC", "PCM_24"): (ANY_RATE, 1e-4),
    ("AIFF", "PCM_16"): (ANY_RATE, 2e-4),
    ("W64", "PCM_16"): (ANY_RATE, 2e-4),
    ("OGG", "VORBIS"): (ANY_RATE, 0.03),
    ("OGG", "OPUS"): ((8_000, 16_000, 48_000), 0.08),
    ("MP3", "MPEG_LAYER_III"): ((8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000), 0.07),
}


@pytest.mark.parametrize(
    ("file_format", "subtype", "sampling_rate_hz", "tolerance"),
    [(*name, rate, tolerance) for name, (rates, tolerance) in FORMATS.items() for rate in rates],
)
def test_formats_and_rates(
    file_format: str, subtype: str, sampling_rate_hz: int, tolerance: float
) -> None:
    data = encode(signal(sampling_rate_hz), sampling_rate_hz, file_format, subtype)
    assert_is_signal(decode_audio(bytes(data)), tolerance)


@pytest.mark.parametrize(
    ("file_format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "FLOAT", 1e-6),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.03),
        ("OGG", "OPUS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.03),
    ],
)
@pytest.mark.parametrize(
    "levels",
    [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.2, 1.0), (0.0, 0.0, 1.0, 0.0, 0.5, 0.5)],
    ids=["stereo", "dead right", "dead left", "uneven", "5.1"],
)
def test_channels_are_averaged(
    file_format: str, subtype: str, tolerance: float, levels: tuple[float, ...]
) -> None:
    """The rule: the mean of all channels. A dead one halves the level of stereo, and no more."""
    if len(levels) > 2 and (file_format == "MP3" or subtype == "OPUS"):
        pytest.skip("libsndfile writes no 5.1 in this format")
    samples = signal(16_000)[:, None] * np.array(levels)
    waveform = decode_audio(bytes(encode(samples, 16_000, file_format, subtype)))
    assert_is_signal(waveform, tolerance, scale=float(np.mean(levels)))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (4.0 * signal(16_000), 4.0 * signal(16_000)),
        (signal(16_000) + 0.25, signal(16_000) + 0.25),
        (np.zeros(32_000), np.zeros(32_000)),
        (np.full(32_000, 1e-30), np.full(32_000, 1e-30)),
    ],
    ids=["above 1.0", "DC offset", "digital silence", "almost silence"],
)
def test_levels_are_left_as_they_are(samples: np.ndarray, expected: np.ndarray) -> None:
    waveform = decode_audio(bytes(encode(samples, 16_000, "WAV", "FLOAT")))
    np.testing.assert_array_equal(waveform, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("file_format", "subtype"), [name for name in FORMATS if name != ("WAV", "ULAW")]
)
@pytest.mark.parametrize("num_samples", [0, 1, 10, MIN_SAMPLES - 1])
def test_files_of_some_samples_are_rejected(
    file_format: str, subtype: str, num_samples: int
) -> None:
    data = encode(signal(16_000)[:num_samples], 16_000, file_format, subtype)
    why = outcome(data)
    if num_samples == 0:
        assert why in (
            (Stage.READ, Reason.EMPTY_RECORDING),
            (Stage.DECODE, Reason.NOT_AUDIO),  # a header with no page or frame behind it
        )
    else:
        assert why == (Stage.SEGMENT, Reason.TOO_SHORT)


@pytest.mark.parametrize(
    ("file_format", "subtype"), [*FORMATS, ("AU", "PCM_16"), ("WAV", "MS_ADPCM")]
)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_what_was_cut_off_is_not_taken_for_shorter(
    file_format: str, subtype: str, part: float
) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 160_000)
    data = encode(noise, 16_000, file_format, subtype)
    assert len(outcome(data)) >= 160_000
    why = outcome(data[: round(len(data) * part)])
    assert why in (
        (Stage.DECODE, Reason.TRUNCATED),
        (Stage.DECODE, Reason.NOT_AUDIO),  # where not even the header is whole
    )
    if part > 0.05:
        assert why == (Stage.DECODE, Reason.TRUNCATED)


def test_segments_before_the_cut_of_an_ogg_are_good() -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 160_000)
    data = bytes(encode(noise, 16_000, "OGG", "VORBIS"))
    storage.write_atomic("memory://zoo/cut.ogg", data[: len(data) // 2])
    times = [(0.0, 2.0), (1.0, 9.0), (0.0, None), (9.0, 9.5)]
    segments = [
        Segment(segment_id=str(n), recording="memory://zoo/cut.ogg", start_s=a, end_s=b)
        for n, (a, b) in enumerate(times)
    ]
    results = {s.segment_id: r for s, r in read_segments("memory://zoo/cut.ogg", segments)}
    whole = decode_audio(data)
    np.testing.assert_array_equal(results.pop("0"), whole[:32_000])
    assert {result.reason for result in results.values()} == {Reason.TRUNCATED}


def test_a_captured_stream_without_an_end_is_whole() -> None:
    data = encode(signal(16_000, 10.0), 16_000, "OGG", "OPUS")
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    assert data[pages[-1] + 5] & 4, "the last page has the flag that ends the stream"
    without_last = decode_audio(bytes(data[: pages[-1]]))
    assert 8.0 < len(without_last) / 16_000 < 10.0


def with_number(data: bytearray, at: int, layout: str, number: int) -> bytearray:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, number)
    return changed


def lying_wav(num_bytes: int) -> bytearray:
    data = encode(signal(16_000), 16_000, "WAV", "PCM_16")
    return with_number(data, data.index(b"data") + 4, "<I", num_bytes)


def lying_flac(num_samples: int) -> bytearray:
    data = encode(signal(16_000), 16_000, "FLAC", "PCM_16")
    return with_number(data, 22, ">I", num_samples)  # the lower 32 bits of STREAMINFO's 36


def lying_mp3(part: float) -> bytearray:
    data = encode(signal(16_000), 16_000, "MP3", "MPEG_LAYER_III")
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    return with_number(data, at, ">I", round(struct.unpack_from(">I", data, at)[0] * part))


TRUNCATED = (Stage.DECODE, Reason.TRUNCATED)
HEADERS_THAT_LIE = {
    # More than there is: cut off, as far as anybody can tell.
    "wav twice": (lying_wav(128_000), TRUNCATED),
    "flac twice": (lying_flac(64_000), TRUNCATED),
    "mp3 twice": (lying_mp3(2.0), TRUNCATED),
    # Less than there is: the header decides.
    "wav half": (lying_wav(32_000), 16_000),
    "flac half": (lying_flac(16_000), 16_000),
    "wav nothing": (lying_wav(0), (Stage.READ, Reason.EMPTY_RECORDING)),
    # No number at all: the file is read to its end.
    "wav of a pipe": (lying_wav(0xFFFF_FFFF), 32_000),
    "wav of sox": (lying_wav(0x7FFF_F000 - 36 + 100), 32_000),
    "flac of a pipe": (lying_flac(0), 32_000),
}


@pytest.mark.parametrize(("data", "expected"), HEADERS_THAT_LIE.values(), ids=HEADERS_THAT_LIE)
def test_headers_that_lie_about_length(
    data: bytearray, expected: int | tuple[Stage, Reason]
) -> None:
    found = outcome(data)
    assert (len(found) if isinstance(found, np.ndarray) else found) == expected


ID3V2 = b"ID3\x04\0\0\0\0\x07\x76" + bytes(1_014)
ID3V1 = b"TAG" + bytes(125)


@pytest.mark.parametrize("before", [b"", ID3V2], ids=["", "ID3v2"])
@pytest.mark.parametrize("behind", [b"", ID3V1], ids=["", "ID3v1"])
@pytest.mark.parametrize("sampling_rate_hz", [16_000, 44_100])
def test_an_mp3_of_variable_rate_without_a_length_is_read_to_its_end(
    before: bytes, behind: bytes, sampling_rate_hz: int
) -> None:
    """libsndfile guesses a length from the first frame, and would stop there."""
    rng = np.random.default_rng(0)
    quiet, loud = np.zeros(sampling_rate_hz), rng.uniform(-0.5, 0.5, 9 * sampling_rate_hz)
    data = encode(np.concatenate([quiet, loud]), sampling_rate_hz, "MP3", "MPEG_LAYER_III")
    whole = decode_audio(bytes(data))
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at : at + 4] = b"none"
    waveform = decode_audio(before + bytes(data) + behind)
    # Without its header the encoder's delay is not known and stays, and the header is a frame.
    assert 0 <= len(waveform) - len(whole) < 0.3 * 16_000
    matches = np.correlate(waveform[40_000:80_000], whole[42_000:50_000])
    assert matches.max() > 0.9 * (whole[42_000:50_000] ** 2).sum()


LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
NO_AUDIO = {
    "LFS pointer": (LFS_POINTER, "Git LFS pointer.*`git lfs pull`"),
    "text": (b"These are the minutes of the meeting.\n" * 9, "no audio file"),
    "web page": (b"\n<!DOCTYPE html><html><h1>404 Not Found</h1></html>", "web page"),
    "S3 error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
    "JSON": (b'{"error": "not found"}', "no audio file"),
    "zeros": (bytes(10_000), "no audio file"),
    "one byte": (b"R", "no audio file"),
    "a RIFF header alone": (b"RIFF\x24\0\0\0WAVE", "no audio file"),
    "an ID3 tag alone": (ID3V2, "no audio file"),
    "an OGG page alone": (b"OggS" + bytes(24), "no audio file"),
}


@pytest.mark.parametrize(("data", "detail"), NO_AUDIO.values(), ids=NO_AUDIO)
def test_what_is_no_audio_is_rejected(tmp_path: Path, data: bytes, detail: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    segment = Segment(segment_id="a", recording=str(path))
    ((_, error),) = read_segments(str(path), [segment])
    assert isinstance(error, SegmentError)
    assert (error.stage, error.reason) == (Stage.DECODE, Reason.NOT_AUDIO)
    with pytest.raises(SegmentError, match=detail):
        raise error
    assert str(path) in error.detail


def test_random_bytes_are_rejected_or_read_but_never_raise() -> None:
    rng = np.random.default_rng(0)
    headers = [b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb\x90\x64", b"FORM", b"caff"]
    for header in headers:
        for num_bytes in (0, 3, 50, 5_000):
            found = outcome(header + rng.bytes(num_bytes))
            assert isinstance(found, np.ndarray) or found[0] in set(Stage)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", "PCM_16")],
)
def test_damaged_bytes_are_rejected_or_read_but_never_raise(
    file_format: str, subtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    data = encode(rng.uniform(-0.3, 0.3, 16_000), 16_000, file_format, subtype)
    for at in rng.integers(0, len(data), 20):
        data[at] = rng.integers(256)
    found = outcome(data)
    assert isinstance(found, np.ndarray) or found[0] in set(Stage)


@pytest.mark.parametrize(
    "name",
    [
        "two words.wav",
        "50%.wav",
        "a%20b.wav",
        "%C3%A9.wav",
        "Gespräch über Öl.wav",
        "разговор.wav",
        "会議.wav",
        "naïve 100% (1) [x] {y}.wav",
        "a+b&c=d.wav",
        "'quoted'.wav",
    ],
)
def test_names_are_taken_literally(folder: str, name: str) -> None:
    uri = storage.join(folder, "öffentlich 5%", name)
    storage.write_atomic(uri, bytes(encode(signal(16_000), 16_000, "WAV", "PCM_16")))
    ((_, waveform),) = read_segments(uri, [Segment(segment_id="a", recording=uri)])
    assert_is_signal(waveform, 1e-4)
    decoded = storage.join(folder, "öffentlich 5%", "a b.wav")
    ((_, error),) = read_segments(decoded, [Segment(segment_id="a", recording=decoded)])
    assert (error.stage, error.reason) == (Stage.READ, Reason.RECORDING_NOT_FOUND)


def test_an_empty_file_and_a_folder_are_rejected(folder: str) -> None:
    empty = storage.join(folder, "empty.wav")
    storage.write_atomic(empty, b"")
    storage.write_atomic(storage.join(folder, "folder.wav", "a.txt"), b"text")
    expected = {
        empty: {(Stage.READ, Reason.EMPTY_RECORDING)},
        # An object store has no folders: there is only no object of that name.
        storage.join(folder, "folder.wav"): {
            (Stage.READ, Reason.RECORDING_UNREADABLE),
            (Stage.READ, Reason.RECORDING_NOT_FOUND),
        },
    }
    for uri, allowed in expected.items():
        ((_, error),) = read_segments(uri, [Segment(segment_id="a", recording=uri)])
        assert (error.stage, error.reason) in allowed
