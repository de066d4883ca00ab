"""How positive the words of a transcript are: by a column, by another model, or by a lexicon."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.found_runs import find_run
from orchestration.text_probe.segments import read_scores
from orchestration.text_probe.synthesis import MAX_CHARACTERS
from ser_model import storage
from ser_model.manifest_checks import to_numbers
from ser_model.schema import ConfigError, ManifestError
from ser_model.table_files import EXTENSIONS

LEXICON = "VADER"
LEXICON_LANGUAGE = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentiment:
    """Where the sentiment of a transcript comes from.

    Attributes:
        name: for people.
        facts: what probe.json says of it.
        of: takes `segment_id` and `transcript` of segments; returns their sentiment, null where
            there is none. Any scale, positive for positive.
    """

    name: str
    facts: Mapping[str, object]
    of: Callable[[pa.Table], pa.ChunkedArray | pa.Array]


def find_sentiment(option: str | None, metadata: pa.Table, metadata_uri: str) -> Sentiment | None:
    """Find what `--sentiment` names; without it the lexicon, if it is installed.

    Args:
        option: a numeric column of the metadata, or a run or table of predictions, whose valence
            is taken; None for the lexicon.
        metadata: as from `read_metadata`.
        metadata_uri: where it comes from, for messages.

    Raises:
        ManifestError: the column is not numeric.
        ConfigError: there is neither such a column nor such a run.
        RunError: the run is not complete, or holds no valence.
    """
    if option is None:
        return _of_lexicon() if importlib.util.find_spec("vaderSentiment") else None
    if option in metadata.column_names:
        return _of_column(option, metadata, metadata_uri)
    if option.lower().endswith(EXTENSIONS) or storage.exists(storage.join(option, "run.json")):
        return _of_run(option)
    raise ConfigError(
        f"--sentiment {option!r} is neither a column of {metadata_uri} (it has "
        f"{', '.join(metadata.column_names)}) nor a run or table of predictions"
    )


def _of_lexicon() -> Sentiment:
    """VADER's compound score, -1 to 1: Hutto & Gilbert, ICWSM 2014. Its words are English."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    known: dict[str, float] = {}

    def score(transcript: str | None) -> float | None:
        # Its time grows with the square of the length.
        if transcript is None or not transcript.strip() or len(transcript) > MAX_CHARACTERS:
            return None
        if transcript not in known:
            known[transcript] = float(analyzer.polarity_scores(transcript)["compound"])
        return known[transcript]

    return Sentiment(
        name=f"{LEXICON}, an English lexicon",
        facts={
            "lexicon": LEXICON,
            "language": LEXICON_LANGUAGE,
            "version": version("vaderSentiment"),
        },
        of=lambda segments: pa.array(
            [score(transcript) for transcript in segments["transcript"].to_pylist()], pa.float64()
        ),
    )


def _of_column(name: str, metadata: pa.Table, metadata_uri: str) -> Sentiment:
    try:
        values = to_numbers(metadata_uri, name, metadata[name])
    except ManifestError as error:
        raise ManifestError(f"{error}, and --sentiment needs numbers") from error
    return Sentiment(
        name=f"column {name}",
        facts={"column": name},
        of=_looked_up(metadata["segment_id"], values),
    )


def _of_run(uri: str) -> Sentiment:
    found = find_run(uri)
    scores = read_scores(found)
    return Sentiment(
        name=f"valence of {found.model_version or uri}",
        facts={"predictions": uri, "sha256": found.sha256, "model_version": found.model_version},
        of=_looked_up(scores["segment_id"], scores["valence"]),
    )


def _looked_up(
    segment_ids: pa.ChunkedArray, values: pa.ChunkedArray
) -> Callable[[pa.Table], pa.ChunkedArray]:
    known = [v if v is not None and math.isfinite(v) else None for v in values.to_pylist()]
    finite = pa.chunked_array([known], pa.float64())
    return lambda segments: finite.take(pc.index_in(segments["segment_id"], segment_ids))
