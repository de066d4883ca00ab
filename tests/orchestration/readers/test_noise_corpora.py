"""ESC-50 and MUSAN: what a manifest calls a sound is what the noise folder calls it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.augment.noise_layout import find_sounds
from ser_model.schema import ManifestError

ESC_50 = """\
filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
5-9032-A-0.wav,5,24,coughing,False,9032,A
"""
MUSAN = (
    "musan/music/fma-western-art/music-fma-western-art-0000.wav",
    "musan/noise/sound-bible/noise-sound-bible-0085.wav",
    "musan/speech/us-gov/speech-us-gov-0000.wav",
)


def esc_50(folder: str, write_files: Callable[..., None], table: str = ESC_50) -> None:
    audio = ("1-100032-A-0.wav", "5-9032-A-0.wav")
    write_files(folder, {f"ESC-50-master/audio/{name}": "" for name in audio})
    write_files(folder, {"ESC-50-master/meta/esc50.csv": table})


def classes(folder: str) -> dict[str, str]:
    """What the noise folder makes of it."""
    return {storage.join(folder, sound.path): sound.noise_class for sound in find_sounds(folder)}


def test_esc_50(folder: str, write_files: Callable[..., None]) -> None:
    esc_50(folder, write_files)
    corpus = read_corpus(folder)
    assert corpus.reader == "esc50"
    rows = corpus.manifest.to_pylist()
    assert [(row["sound_class"], row["fold"]) for row in rows] == [("dog", "1"), ("coughing", "5")]
    assert {row["recording"]: row["sound_class"] for row in rows} == classes(folder)
    (mismatch,) = corpus.mismatches
    assert mismatch.startswith("expected 2000 segments (ESC-50; Piczak 2015), found 2:")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (ESC_50.replace("5-9032-A-0.wav", ""), "row 2: recording is empty"),
        (ESC_50.replace("category", "class"), r"esc50\.csv has no column category"),
        ("filename,category\n", "has no rows"),
    ],
)
def test_broken_esc_50(
    memory: str, write_files: Callable[..., None], table: str, message: str
) -> None:
    esc_50(memory, write_files, table)
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


def test_two_tables_of_esc_50_are_one_too_many(
    memory: str, write_files: Callable[..., None]
) -> None:
    esc_50(memory, write_files)
    write_files(memory, {"copy/meta/esc50.csv": ESC_50})
    with pytest.raises(ManifestError, match=r"should hold meta/esc50\.csv once"):
        read_corpus(memory)


def test_musan(folder: str, write_files: Callable[..., None]) -> None:
    write_files(folder, {**dict.fromkeys(MUSAN, ""), "musan/speech/us-gov/ANNOTATIONS": "x"})
    corpus = read_corpus(folder)
    assert corpus.reader == "musan"
    rows = corpus.manifest.to_pylist()
    assert [(row["sound_class"], row["sound_source"]) for row in rows] == [
        ("music", "fma-western-art"),
        ("noise", "sound-bible"),
        ("speech", "us-gov"),
    ]
    assert {row["recording"]: row["sound_class"] for row in rows} == classes(folder)
    assert corpus.mismatches == ()


def test_a_stray_file_in_musan_is_named(memory: str, write_files: Callable[..., None]) -> None:
    write_files(memory, {**dict.fromkeys(MUSAN, ""), "musan/music/fma/song.wav": ""})
    with pytest.raises(ManifestError, match=r"song\.wav is not named as the audio of MUSAN"):
        read_corpus(memory)
