"""EmoDB, the Berlin database of emotional speech.

Obtain download.zip from http://emodb.bilderbar.info and unpack it. Licence: none is named in what
we could read of its pages; audEERING's documentation calls its use unrestricted. Paper: Burkhardt,
Paeschke, Rolfes, Sendlmeier & Weiss, "A Database of German Emotional Speech", Interspeech 2005.

A file is named 03a01Fa.wav: speaker, text, the first letter of the emotion's German name, and a
letter for repetitions. Emotions are those that the actors were asked for. How many listeners heard
them so stands in erkennung.txt, which is not read. Sexes, ages and texts are those of the corpus's
documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from orchestration.readers.expectation import Expectation
from orchestration.readers.file_names import mostly_named, parse_names

LAYOUT = "EmoDB (audio files named 03a01Fa.wav)"

EXPECTED = (
    Expectation(
        description="EmoDB", num_segments=535, num_speakers=10, source="the corpus as distributed"
    ),
)

_SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
"""Sex and age in years."""

_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_EMOTIONS = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
_NAME = re.compile(
    rf"(?P<speaker>{'|'.join(_SPEAKERS)})(?P<text>{'|'.join(_TEXTS)})"
    rf"(?P<emotion>[{''.join(_EMOTIONS)}])(?P<repetition>[a-z]?)"
)


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether most audio files are named as in EmoDB."""
    return mostly_named(files, _NAME)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a file.

    Raises:
        ManifestError: an audio file has a name that EmoDB does not have.
    """
    names = parse_names(source, files, _NAME, corpus="EmoDB", example="03a01Fa.wav")
    return pa.Table.from_pylist([_row(file, match) for file, match in names])


def _row(file: str, name: re.Match[str]) -> dict[str, object]:
    sex, age = _SPEAKERS[name["speaker"]]
    return {
        "recording": file,
        "speaker_id": name["speaker"],
        "sex": sex,
        "age": age,
        "language": "deu",
        "emotion": _EMOTIONS[name["emotion"]],
        "text": name["text"],
        "transcript": _TEXTS[name["text"]],
        "repetition": name["repetition"] or None,
    }
