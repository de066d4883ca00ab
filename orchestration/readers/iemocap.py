"""IEMOCAP: dialogues of ten actors in five sessions, scripted and improvised.

The release holds SessionN/dialog/EmoEvaluation (a line a turn: times, emotion, and valence,
activation, dominance in this order), SessionN/dialog/transcriptions and SessionN/sentences/wav (a
file a turn). To be asked for at https://sail.usc.edu/iemocap, under a licence of its own.
Source: Busso et al. 2008, IEMOCAP: interactive emotional dyadic motion capture database.

`emotion` is what the raters agreed on, empty where they did not (xxx); `emotion_4` has excitement
merged into happiness, and is empty for all but the four emotions. The speaker of a turn is who
speaks in it, not who wears the markers: Ses01M speaks in Ses01F_impro01_M000.

A mean that is off the scale of 1 to 5 comes of a broken rating: it is left empty, and counted in
the log. (That the release holds such means could not be checked.)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import cast

import pyarrow as pa

from orchestration.readers.expectation import Expectation
from orchestration.readers.four_emotions import four_emotions
from orchestration.readers.source import read_lines
from ser_model import storage
from ser_model.schema import DIMENSIONS, ManifestError

LAYOUT = "IEMOCAP: Session1 to Session5 with dialog/EmoEvaluation and sentences/wav"
TRUTH_RANGE = (1.0, 5.0)

_COUNTED_BY = "Wagner et al. 2023"
EXPECTED = (
    Expectation(
        description="IEMOCAP", num_segments=10_039, num_speakers=10, source=f"{_COUNTED_BY}, III-C"
    ),
    *(
        Expectation(
            description=f"IEMOCAP, {emotion} of four emotions",
            num_segments=num_segments,
            source=f"{_COUNTED_BY}, II",
            column="emotion_4",
            value=emotion,
        )
        for emotion, num_segments in (
            ("anger", 1103),
            ("happiness", 1636),
            ("neutral", 1708),
            ("sadness", 1084),
        )
    ),
)

EMOTIONS = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excitement",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": "other",
    "sad": "sadness",
    "sur": "surprise",
    "xxx": None,
}
SEX = {"F": "female", "M": "male"}
ELICITATION = {"impro": "improvised", "script": "scripted"}

_EVALUATION = re.compile(
    r"(?P<folder>(?:.*/)?Session[1-5])/dialog/EmoEvaluation/"
    r"(?P<dialogue>Ses0[1-5][FM]_(?P<elicitation>impro|script)\w+)\.txt"
)
_NUMBER = r"-?\d+(?:\.\d+)?"
_TURN = re.compile(
    rf"\[{_NUMBER}\s*-\s*{_NUMBER}\]\s+(?P<turn>\w+_(?P<sex>[FM])\w+)\s+(?P<emotion>[a-z]+)\s+"
    rf"\[(?P<valence>{_NUMBER}),\s*(?P<arousal>{_NUMBER}),\s*(?P<dominance>{_NUMBER})\]\s*"
)
_TRANSCRIPT = re.compile(r"(?P<turn>Ses\w+) \[[^\]]*\]:\s*(?P<transcript>.*)")

_logger = logging.getLogger(__name__)


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether there are evaluations of sessions."""
    return any(_EVALUATION.fullmatch(file) for file in files)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row an evaluated turn.

    Raises:
        ManifestError: there is no evaluation, or a line of one is broken.
    """
    found = [match for file in files if (match := _EVALUATION.fullmatch(file))]
    if not found:
        raise ManifestError(f"{source} holds no SessionN/dialog/EmoEvaluation/Ses*.txt")
    there = set(files)
    rows = [row for match in found for row in _turns(source, match, there)]
    if not rows:
        raise ManifestError(f"{source}: no evaluated turn in {len(found)} files of EmoEvaluation")
    _empty_off_scale(rows)
    return pa.Table.from_pylist(rows)


def _turns(
    source: str, evaluation: re.Match[str], there: set[str]
) -> Iterator[dict[str, str | float | None]]:
    folder, dialogue = evaluation["folder"], evaluation["dialogue"]
    transcription = f"{folder}/dialog/transcriptions/{dialogue}.txt"
    transcripts = _transcripts(source, transcription) if transcription in there else {}
    uri = storage.join(source, evaluation.string)
    for number, line in enumerate(read_lines(uri), start=1):
        if not line.startswith("["):  # the ratings that the line before sums up
            continue
        match = _TURN.fullmatch(line)
        if match is None or match["emotion"] not in EMOTIONS:
            raise ManifestError(
                f"{uri}, line {number} is no evaluated turn ([start - end], turn, emotion, "
                f"[valence, activation, dominance]): {line!r}"
            )
        turn, emotion = match["turn"], EMOTIONS[match["emotion"]]
        yield {
            "segment_id": turn,
            "recording": f"{folder}/sentences/wav/{dialogue}/{turn}.wav",
            "speaker_id": dialogue[:5] + match["sex"],
            "sex": SEX[match["sex"]],
            "language": "eng",
            "session": storage.name(folder),
            "dialogue": dialogue,
            "elicitation": ELICITATION[evaluation["elicitation"]],
            "transcript": transcripts.get(turn),
            "emotion": emotion,
            "emotion_4": four_emotions(emotion),
            **{dimension: float(match[dimension]) for dimension in DIMENSIONS},
        }


def _empty_off_scale(rows: list[dict[str, str | float | None]]) -> None:
    low, high = TRUTH_RANGE
    off_scale = [
        (row, dimension)
        for row in rows
        for dimension in DIMENSIONS
        if not low <= cast(float, row[dimension]) <= high
    ]
    if not off_scale:
        return
    row, dimension = off_scale[0]
    first = f"{dimension} {row[dimension]} of {row['segment_id']}"
    _logger.warning(
        "%d means are off the scale of %g to %g and left empty, first %s",
        len(off_scale),
        low,
        high,
        first,
    )
    for row, dimension in off_scale:
        row[dimension] = None


def _transcripts(source: str, file: str) -> dict[str, str]:
    """Read what was said by turn; lines that name no turn are remarks, and of no segment."""
    lines = read_lines(storage.join(source, file), errors="replace")
    found = (_TRANSCRIPT.fullmatch(line.strip()) for line in lines)
    return {match["turn"]: match["transcript"] for match in found if match}
