"""CMU-MOSI: opinions in reviews on YouTube, rated for sentiment from -3 to 3.

The raw release holds Audio/WAV_16000/Segmented (VIDEO_NUMBER.wav; or Full, VIDEO.wav),
Transcript/Segmented (VIDEO.annotprocessed, lines NUMBER_DELIM_text) and OpinionLevelSentiment.csv
(no header; start, end, video, number, sentiment), in Labels or anywhere else below. To be had by
way of the CMU Multimodal SDK, https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK, for research.
Labels in .csd (HDF5) are not read. Source of the layout: public code that reads the raw release.

Sentiment becomes `valence`, as in Wagner et al. 2023. The release names no speakers: `speaker_id`
is the video, so the few people who are in two videos count as two. It says nothing of their sex
either: put the annotation of Wierstorf 2023 (https://doi.org/10.5281/zenodo.7554349), or your own,
into the folder as a table with "gender" in its name, and columns for the video, or the segment, and
the gender. (Its own layout could not be checked; rename its columns where they are not found.)
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from orchestration.readers.cmu_mosi_folds import SPLIT_BY_VIDEO
from orchestration.readers.expectation import Expectation
from orchestration.readers.source import read_lines
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import read_table_file

LAYOUT = "CMU-MOSI: OpinionLevelSentiment.csv with Audio/WAV_16000/Segmented or Full"
TRUTH_RANGE = (-3.0, 3.0)
EXPECTED = (
    Expectation(description="CMU-MOSI", num_segments=2199, source="Zadeh et al. 2016"),
    Expectation(
        description="CMU-MOSI, test",
        num_segments=685,
        source="Wagner et al. 2023, III-C",
        column="split",
        value="test",
    ),
)

SEX = {"female": "female", "f": "female", "male": "male", "m": "male"}
SEGMENT_COLUMNS = ("segment", "segment_id", "file", "name", "video", "video_id")
SEX_COLUMNS = ("gender", "sex")

_LABELS = re.compile(r"(?:.*/)?OpinionLevelSentiment\.csv")
_AUDIO = re.compile(
    r"(?:.*/)?Audio/WAV_16000/(?P<kind>Segmented|Full)/(?P<name>[^/]+)\.wav", re.IGNORECASE
)
_TRANSCRIPTS = re.compile(r"(?:.*/)?Transcript/Segmented/(?P<video>[^/]+)\.annotprocessed")
_SEX = re.compile(r"(?:.*/)?[^/]*gender[^/]*\.(?:csv|tsv)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opinion:
    """A line of the labels.

    Attributes:
        video: its name.
        number: of the segment within its video.
        start_s: within the video.
        end_s: likewise.
        sentiment: -3 to 3.
    """

    video: str
    number: int
    start_s: float
    end_s: float
    sentiment: float

    @property
    def segment_id(self) -> str:
        """Return the name that the segment's audio has in the release."""
        return f"{self.video}_{self.number}"


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether there are opinions and their audio."""
    return any(map(_LABELS.fullmatch, files)) and any(map(_AUDIO.fullmatch, files))


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row an opinion.

    Raises:
        ManifestError: a file is absent, there twice or broken.
    """
    labels = [file for file in files if _LABELS.fullmatch(file)]
    if len(labels) != 1:
        found = ", ".join(labels) or "none"
        raise ManifestError(
            f"{source} should hold one OpinionLevelSentiment.csv, and holds {found}"
        )
    audio = _audio(files)
    if not any(audio.values()):
        raise ManifestError(f"{source} holds no Audio/WAV_16000/Segmented/*.wav, and none in Full")
    opinions = list(_opinions(storage.join(source, labels[0])))
    transcripts = _transcripts(source, files)
    sexes = _sexes(source, files)
    rows = [
        {
            "segment_id": opinion.segment_id,
            **_place(opinion, audio),
            "speaker_id": opinion.video,
            "sex": sexes.get(opinion.segment_id, sexes.get(opinion.video)),
            "language": "eng",
            "split": SPLIT_BY_VIDEO.get(opinion.video),
            "transcript": transcripts.get(opinion.segment_id),
            "valence": opinion.sentiment,
        }
        for opinion in opinions
    ]
    return pa.Table.from_pylist(rows)


def _opinions(uri: str) -> Iterator[_Opinion]:
    lines = read_lines(uri)
    for number, fields in enumerate(csv.reader(lines), start=1):
        if not fields:
            continue
        try:
            start_s, end_s, video, segment, sentiment = fields
            yield _Opinion(
                video=video.strip(),
                number=int(segment),
                start_s=float(start_s),
                end_s=float(end_s),
                sentiment=float(sentiment),
            )
        except ValueError as error:
            raise ManifestError(
                f"{uri}, line {number} is not start, end, video, number, sentiment: "
                f"{lines[number - 1]!r}"
            ) from error


def _audio(files: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the audio files by name, of segments and of whole videos apart."""
    audio: dict[str, dict[str, str]] = {"segmented": {}, "full": {}}
    for file in files:
        match = _AUDIO.fullmatch(file)
        if match is not None:
            audio[match["kind"].lower()][match["name"]] = file
    return audio


def _place(opinion: _Opinion, audio: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Say where a segment's audio is: in a file of its own, or else within its video."""
    segment = audio["segmented"].get(opinion.segment_id)
    video = audio["full"].get(opinion.video)
    if segment is None and video is not None:
        return {"recording": video, "start_s": opinion.start_s, "end_s": opinion.end_s}
    absent = f"Audio/WAV_16000/Segmented/{opinion.segment_id}.wav"
    return {"recording": segment or absent, "start_s": None, "end_s": None}


def _transcripts(source: str, files: Sequence[str]) -> dict[str, str]:
    transcripts: dict[str, str] = {}
    for file in files:
        match = _TRANSCRIPTS.fullmatch(file)
        if match is None:
            continue
        for line in read_lines(storage.join(source, file), errors="replace"):
            number, delimiter, text = line.partition("_DELIM_")
            if delimiter and text.strip():
                transcripts[f"{match['video']}_{number.strip()}"] = text.strip()
    return transcripts


def _sexes(source: str, files: Sequence[str]) -> dict[str, str]:
    """Return what annotations of gender say, by video or segment."""
    sex_by_name: dict[str, str] = {}
    for file in files:
        if _SEX.fullmatch(file) is None:
            continue
        uri = storage.join(source, file)
        table = read_table_file(uri)
        named = next((c for c in SEGMENT_COLUMNS if c in table.column_names), None)
        sexed = next((c for c in SEX_COLUMNS if c in table.column_names), None)
        if named is None or sexed is None:
            raise ManifestError(
                f"{uri} needs a column {' or '.join(SEGMENT_COLUMNS)} and a column "
                f"{' or '.join(SEX_COLUMNS)} (it has {', '.join(table.column_names)})"
            )
        rows = zip(table[named].to_pylist(), table[sexed].to_pylist(), strict=True)
        for row, (name, said) in enumerate(rows, start=1):
            sex = SEX.get((said or "").strip().lower())
            if name is None or sex is None:
                raise ManifestError(f"{uri}, row {row}: {sexed} {said!r} is not female or male")
            sex_by_name[PurePosixPath(name).name.removesuffix(".wav")] = sex
    return sex_by_name
