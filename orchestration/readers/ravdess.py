"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song.

Obtain Audio_Speech_Actors_01-24.zip, and Audio_Song_Actors_01-24.zip if wanted, from
https://zenodo.org/records/1188976 and unpack them into one folder. Licence: CC BY-NC-SA 4.0.
Paper: Livingstone & Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song
(RAVDESS)", PLoS ONE 13(5), 2018.

A file is named by seven numbers, 03-01-06-01-02-01-12.wav: modality, vocal channel, emotion,
intensity, statement, repetition, actor. Odd actors are male, even ones female. The speech of all
actors has two statements in eight emotions; the neutral one has no strong intensity. Emotions are
those that the actors were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from orchestration.readers.expectation import Expectation
from orchestration.readers.file_names import mostly_named, parse_names

LAYOUT = "RAVDESS (audio files named 03-01-06-01-02-01-12.wav)"

_PAPER = "Livingstone & Russo 2018"
EXPECTED = (
    Expectation(
        description="RAVDESS, speech",
        num_segments=1440,
        num_speakers=24,
        source=_PAPER,
        column="channel",
        value="speech",
        optional=True,
    ),
    Expectation(
        description="RAVDESS, song",
        num_segments=1012,
        num_speakers=23,
        source=_PAPER,
        column="channel",
        value="song",
        optional=True,
    ),
)

_NAME = re.compile(
    r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1[0-9]|2[0-4])"
)
_MODALITIES = {"01": "audio-video", "02": "video", "03": "audio"}
_CHANNELS = {"01": "speech", "02": "song"}
_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_INTENSITIES = {"01": "normal", "02": "strong"}
_STATEMENTS = {"01": "kids", "02": "dogs"}
_TRANSCRIPTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether most audio files are named as in RAVDESS."""
    return mostly_named(files, _NAME)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a file.

    Raises:
        ManifestError: an audio file has a name that RAVDESS does not have.
    """
    names = parse_names(source, files, _NAME, corpus="RAVDESS", example="03-01-06-01-02-01-12.wav")
    return pa.Table.from_pylist([_row(file, match) for file, match in names])


def _row(file: str, name: re.Match[str]) -> dict[str, object]:
    return {
        "recording": file,
        "speaker_id": f"Actor_{name['actor']}",
        "sex": "male" if int(name["actor"]) % 2 else "female",
        "language": "eng",
        "emotion": _EMOTIONS[name["emotion"]],
        "intensity": _INTENSITIES[name["intensity"]],
        "statement": _STATEMENTS[name["statement"]],
        "transcript": _TRANSCRIPTS[name["statement"]],
        "repetition": name["repetition"].lstrip("0"),
        "channel": _CHANNELS[name["channel"]],
        "modality": _MODALITIES[name["modality"]],
    }
