import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile as sf

from orchestration.demo.corpus import CorpusConfig, full_corpus, make_corpus, quick_corpus
from ser_model.audio import SAMPLING_RATE_HZ, read_segments
from ser_model.manifest import read_manifest, segments
from ser_model.schema import SegmentError

TINY = CorpusConfig(seed=3, num_speakers={"train": 1, "dev": 0, "test": 1}, num_segments=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(str(folder), TINY)
    return folder


@pytest.fixture(scope="module")
def manifest(corpus: Path) -> pa.Table:
    return read_manifest(str(corpus / "manifest.csv"))


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    make_corpus(str(tmp_path), TINY)
    assert hashes(tmp_path) == hashes(corpus)
    assert len(hashes(corpus)) == 12 + 3


def test_another_seed_gives_another_corpus(corpus: Path, tmp_path: Path) -> None:
    other = CorpusConfig(seed=4, num_speakers=TINY.num_speakers, num_segments=3)
    make_corpus(str(tmp_path), other)
    same = {name for name, sha256 in hashes(tmp_path).items() if hashes(corpus)[name] == sha256}
    assert same == set()


def test_a_speaker_does_not_depend_on_the_others(corpus: Path, tmp_path: Path) -> None:
    fewer = CorpusConfig(seed=3, num_speakers={"train": 1, "dev": 0, "test": 0}, num_segments=3)
    make_corpus(str(tmp_path), fewer)
    first = "recordings/american-female-00.flac"
    assert hashes(tmp_path)[first] == hashes(corpus)[first]


def test_every_segment_can_be_read_and_is_speech_between_pauses(
    corpus: Path, manifest: pa.Table
) -> None:
    rows = segments(manifest)
    assert len(rows) == 12 * 3
    for recording in {row.recording for row in rows}:
        waveform, sampling_rate_hz = sf.read(recording, dtype="float32")
        assert sampling_rate_hz == SAMPLING_RATE_HZ
        of_recording = [row for row in rows if row.recording == recording]
        last_end_s = 0.0
        for segment, read in read_segments(recording, of_recording):
            assert not isinstance(read, SegmentError)
            start, end = round(segment.start_s * 16_000), round(segment.end_s * 16_000)
            np.testing.assert_array_equal(read, waveform[start:end])
            assert segment.start_s - last_end_s >= 0.3
            pause = waveform[round(last_end_s * 16_000) : start]
            assert np.mean(read**2) > 3 * np.mean(pause**2)
            last_end_s = segment.end_s


def test_the_scottish_telephone_passes_its_band_alone(manifest: pa.Table) -> None:
    def share_outside(accent: str) -> float:
        of_accent = segments(manifest.filter(pc.equal(manifest["accent"], accent)))
        power = np.zeros(4097)
        for recording in {row.recording for row in of_accent}:
            waveform, _ = sf.read(recording, dtype="float32")
            frames = waveform[: len(waveform) // 8192 * 8192].reshape(-1, 8192)
            power += (np.abs(np.fft.rfft(frames)) ** 2).sum(axis=0)
        frequency_hz = np.fft.rfftfreq(8192, 1 / 16_000)
        outside = (frequency_hz < 200) | (frequency_hz > 3600)
        return float(power[outside].sum() / power.sum())

    assert share_outside("scottish") < 1e-3
    assert share_outside("american") > 0.01
    assert share_outside("british") > 0.01


def test_the_telephone_takes_loudness_away(manifest: pa.Table) -> None:
    def spread_db(accent: str) -> float:
        of_accent = segments(manifest.filter(pc.equal(manifest["accent"], accent)))
        powers = [
            np.mean(waveform**2)
            for recording in {row.recording for row in of_accent}
            for _, waveform in read_segments(
                recording, [row for row in of_accent if row.recording == recording]
            )
            if not isinstance(waveform, SegmentError)
        ]
        return float(np.std(10 * np.log10(powers)))

    assert spread_db("scottish") < 0.6 * spread_db("american")


def test_speakers_are_in_one_split_and_evenly_spread() -> None:
    for config in (full_corpus(0), quick_corpus(0)):
        speakers = config.speakers
        assert len({speaker.speaker_id for speaker in speakers}) == len(speakers)
        cells = Counter((speaker.accent, speaker.sex, speaker.split) for speaker in speakers)
        assert cells == {
            (accent, sex, split): config.num_speakers[split]
            for accent in ("american", "british", "scottish")
            for sex in ("female", "male")
            for split in ("train", "dev", "test")
        }
    assert len(full_corpus(0).speakers) >= 40


def test_the_corpus_says_that_it_is_synthetic_and_what_was_planted(corpus: Path) -> None:
    facts = json.loads((corpus / "corpus.json").read_text())
    assert facts["synthetic"] is True
    assert facts["num_segments"] == 36
    assert facts["planted"]["gap"] == "accent=scottish-rest"
    readme = (corpus / "README.md").read_text()
    assert "Nobody spoke" in readme
    assert "telephone" in readme
    assert "own level + 16 a" in readme
