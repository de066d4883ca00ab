"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset.

Obtain it with git and git-lfs from https://github.com/CheyneyComputerScience/CREMA-D; without
git-lfs its audio files are short texts. Only AudioWAV/ and VideoDemographics.csv are needed.
Licence: Open Database License 1.0, contents under the Database Contents License 1.0. Paper: Cao,
Cooper, Keutmann, Gur, Nenkova & Verma, "CREMA-D", IEEE Trans. Affective Computing 5(4), 2014.

A file is named 1001_DFA_ANG_XX.wav: actor, sentence, emotion, intensity. Emotions are those that
the actors were asked for; the votes of the listeners (processedResults/) are not read. AudioMP3/
holds the same recordings again: it is passed over where AudioWAV/ is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import pyarrow as pa

from orchestration.readers.expectation import Expectation
from orchestration.readers.file_names import mostly_named, parse_names
from orchestration.readers.source import refuse_missing_columns
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import read_table_file

LAYOUT = "CREMA-D (audio files named 1001_DFA_ANG_XX.wav, with VideoDemographics.csv)"

EXPECTED = (
    Expectation(
        description="CREMA-D", num_segments=7442, num_speakers=91, source="Cao et al. 2014"
    ),
)

_DEMOGRAPHICS = "VideoDemographics.csv"
_SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
_EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
_INTENSITIES = {
    "LO": "low",
    "MD": "medium",
    "HI": "high",
    "XX": "unspecified",
    "X": "unspecified",  # one file of the release: 1040_ITH_SAD_X.wav
}
_NAME = re.compile(
    rf"(?P<actor>\d{{4}})_(?P<sentence>{'|'.join(_SENTENCES)})_(?P<emotion>{'|'.join(_EMOTIONS)})"
    rf"_(?P<intensity>{'|'.join(_INTENSITIES)})"
)


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether most audio files are named as in CREMA-D."""
    return mostly_named(files, _NAME)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a file.

    Raises:
        ManifestError: an audio file has a name that CREMA-D does not have, or VideoDemographics.csv
            is absent, broken, or does not know an actor.
    """
    in_wav = [file for file in files if "AudioWAV" in PurePosixPath(file).parts]
    example = "1001_DFA_ANG_XX.wav"
    names = list(parse_names(source, in_wav or files, _NAME, corpus="CREMA-D", example=example))
    actors = _read_actors(source, files)
    unknown = sorted({name["actor"] for _, name in names} - set(actors))
    if unknown:
        raise ManifestError(f"{source}: {_DEMOGRAPHICS} has no row of ActorID {unknown[0]}")
    return pa.Table.from_pylist([_row(file, name, actors[name["actor"]]) for file, name in names])


def _read_actors(source: str, files: Sequence[str]) -> dict[str, dict[str, str | None]]:
    found = [file for file in files if PurePosixPath(file).name == _DEMOGRAPHICS]
    if not found:
        raise ManifestError(
            f"{source} holds no {_DEMOGRAPHICS}, which says who the actors are: put it there, or "
            "name the folder that holds it and AudioWAV; without it, use --reader folder"
        )
    uri = storage.join(source, found[0])
    table = read_table_file(uri)
    refuse_missing_columns(uri, table, "ActorID", "Age", "Sex", "Race", "Ethnicity")
    actors = {}
    for row, actor in enumerate(table.to_pylist(), start=1):
        if actor["Sex"] not in ("Female", "Male"):
            raise ManifestError(f"{uri}, row {row}: Sex {actor['Sex']!r} is not Female or Male")
        actors[actor["ActorID"]] = actor
    return actors


def _row(file: str, name: re.Match[str], actor: dict[str, str | None]) -> dict[str, object]:
    return {
        "recording": file,
        "speaker_id": name["actor"],
        "sex": str(actor["Sex"]).lower(),
        "age": actor["Age"],
        "race": actor["Race"],
        "ethnicity": actor["Ethnicity"],
        "language": "eng",
        "emotion": _EMOTIONS[name["emotion"]],
        "intensity": _INTENSITIES[name["intensity"]],
        "sentence": name["sentence"],
        "transcript": _SENTENCES[name["sentence"]],
    }
