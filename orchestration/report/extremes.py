"""The segments with the largest residuals, as the report lists them: once a model and dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from orchestration.report import wording
from ser_model.schema import CLEAN, ConfigError

MAX_PER_GROUP = 20
"""What extremes.parquet holds of each slice and dimension."""

MAX_MODELS = 6
MAX_GROUPS_NAMED = 4
ALL_SEGMENTS = "all segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """A segment that a model is far off in a dimension.

    Attributes:
        model: how the report calls it.
        target: the dimension.
        segment_id: as in the metadata.
        speaker_id: or a pseudonym.
        truth: 0 to 1.
        prediction: of the model.
        groups: where it is among the furthest: ALL_SEGMENTS, or a slice.
        rank: the best of those that it has there; 1 is the furthest.
    """

    model: str
    target: str
    segment_id: str
    speaker_id: str
    truth: float
    prediction: float
    groups: tuple[str, ...]
    rank: int

    @property
    def residual(self) -> float:
        """Truth minus prediction."""
        return self.truth - self.prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardSegment:
    """A row of the list.

    Attributes:
        number: of the row on the page, from 1.
        name: segment_id, or None where speakers stand under pseudonyms: it may name them.
        extreme: the segment.
        groups: where it is among the furthest, MAX_GROUPS_NAMED at most.
        audio: data URI of the clip; None where another row has it, or nobody.
        heard_at: the row that has the clip.
        reason: why there is no clip.
    """

    number: int
    name: str | None
    extreme: Extreme
    groups: tuple[str, ...]
    audio: str | None = None
    heard_at: HeardSegment | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPanel:
    """The segments that can be heard, num_rows + num_left_out = num_chosen of them.

    Attributes:
        models: the title of each, and by dimension its rows, the largest residual first.
        num_chosen: segments of a model and dimension that were asked for.
        num_rows: how many are listed.
        num_without: how many of those cannot be heard.
        num_left_out: how many the page had no room for.
    """

    models: tuple[tuple[str, tuple[tuple[str, tuple[HeardSegment, ...]], ...]], ...]
    num_chosen: int
    num_rows: int
    num_without: int
    num_left_out: int


def check_number(num: int) -> None:
    """Refuse a number of segments that cannot be had.

    Raises:
        ConfigError: it is not 1 to MAX_PER_GROUP.
    """
    if not 1 <= num <= MAX_PER_GROUP:
        raise ConfigError(
            f"--with-audio {num} is not 1 to {MAX_PER_GROUP}: an audit keeps the {MAX_PER_GROUP} "
            "segments with the largest residuals of each group and dimension"
        )


def choose_extremes(extremes: pa.Table, names: Mapping[str, str], num: int) -> list[Extreme]:
    """Return the `num` furthest segments of each slice and dimension, the furthest first.

    First are those that lead the list of any slice, then the second ones, and so on: so that
    whatever is left out at the end, every slice keeps some.

    Args:
        extremes: extremes.parquet. Only the condition "clean" counts: recordings sound so.
        names: what to call a model, by its version.
        num: 1 or more.
    """
    found: dict[tuple[str, str, str], list[Mapping[str, object]]] = {}
    rows = [row for row in extremes.to_pylist() if row["condition"] == CLEAN]
    versions = sorted({row["model_version"] for row in rows}, key=lambda v: (len(v), v))
    shown = versions[:MAX_MODELS]
    for row in rows:
        if row["rank"] <= num and row["model_version"] in shown:
            key = (row["model_version"], row["target"], row["segment_id"])
            found.setdefault(key, []).append(row)
    chosen = [_merged(names.get(key[0], key[0]), of_one) for key, of_one in found.items()]
    return sorted(
        chosen,
        key=lambda one: (one.rank, -abs(one.residual), one.model, one.target, one.segment_id),
    )


def _merged(model: str, rows: list[Mapping[str, object]]) -> Extreme:
    """One segment of a dimension, from its rows in several slices."""
    first = rows[0]
    groups = sorted((str(row["slice_by"]), str(row["slice"])) for row in rows)
    return Extreme(
        model=wording.model_title(model),
        target=str(first["target"]),
        segment_id=str(first["segment_id"]),
        speaker_id=str(first["speaker_id"]),
        truth=float(str(first["truth"])),
        prediction=float(str(first["prediction"])),
        groups=tuple(name or ALL_SEGMENTS for _, name in groups),
        rank=min(int(str(row["rank"])) for row in rows),
    )
