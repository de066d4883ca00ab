"""Speakers sorted by how well they are predicted: a figure and the extremes by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import CaterpillarFigure, caterpillar_figure

MAX_PLOTTED = 200
NUM_EXTREMES = 5
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One speaker's statistic."""

    speaker_id: str
    value: float
    ci_low: float | None
    ci_high: float | None
    num_segments: int
    reason: str | None
    shrunk_value: float | None
    shrunk_low: float | None
    shrunk_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerSummary:
    """What all speakers of a model say together of a target.

    Attributes:
        target: arousal, dominance or valence.
        cells: by SUMMARY_METRICS the statistic, or None.
    """

    target: str
    cells: tuple[Statistic | None, ...]


SUMMARY_METRICS = {
    "speaker_average_mean_absolute_error": "MAE of speakers' means",
    "speaker_ranking": "Ranking of speakers",
    "speaker_concordance_cc_p05": "CCC, 5th percentile",
    "speaker_concordance_cc_p50": "CCC, median",
    "speaker_concordance_cc_p95": "CCC, 95th percentile",
    "speaker_mean_absolute_error_tail_share": "MAE of the worst tenth",
    "speaker_bias_spread": "Spread of bias",
}
AGREEMENT = "speaker_agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerPanel:
    """The speakers of one model, condition and target.

    Attributes:
        target: arousal, dominance, valence or emotion.
        metric: what is compared.
        num_speakers: those with a value.
        num_without_value: those without one (too few segments, or no variance in their truth).
        figure: at most MAX_PLOTTED speakers at even ranks, always with the first and the last.
        num_plotted: how many those are.
        reference: the same statistic of all segments.
        quantiles: share of speakers and the speaker that stands there, from worst to best.
        lowest: the worst speakers, the worst first.
        highest: the best speakers, the best first; none that is in `lowest` already.
    """

    target: str
    metric: str
    num_speakers: int
    num_without_value: int
    figure: CaterpillarFigure
    num_plotted: int
    reference: float | None
    quantiles: tuple[tuple[float, Speaker], ...]
    lowest: tuple[Speaker, ...]
    highest: tuple[Speaker, ...]


def speaker_panel(
    table: pa.Table, *, target: str, metric: str, reference: float | None
) -> SpeakerPanel | None:
    """Sort the speakers of one model and condition; None where no speaker has a value.

    Args:
        table: rows of speakers.parquet of one model and condition.
        target: which target.
        metric: which metric.
        reference: the same statistic of all segments.
    """
    rows = table.filter(
        pc.and_(pc.equal(table.column("target"), target), pc.equal(table.column("metric"), metric))
    )
    values = _floats(rows, "value")
    has_value = np.isfinite(values)
    if not has_value.any():
        return None
    rows, values = rows.filter(pa.array(has_value)), values[has_value]
    # Equal values are put in the order of their names: the same bytes however the rows lay.
    order = np.lexsort((_name_ranks(rows), values))
    rows, values = rows.take(pa.array(order)), values[order]
    num = len(values)
    plotted = np.unique(np.linspace(0, num - 1, min(num, MAX_PLOTTED)).round().astype(int))
    figure = caterpillar_figure(
        values[plotted],
        _floats(rows, "ci_low")[plotted],
        _floats(rows, "ci_high")[plotted],
        reference=reference,
    )
    num_named = min(NUM_EXTREMES, num)
    return SpeakerPanel(
        target=target,
        metric=metric,
        num_speakers=num,
        num_without_value=int((~has_value).sum()),
        figure=figure,
        num_plotted=len(plotted),
        reference=reference,
        quantiles=tuple((q, _speaker(rows, round(q * (num - 1)))) for q in QUANTILES),
        lowest=tuple(_speaker(rows, i) for i in range(num_named)),
        highest=tuple(
            _speaker(rows, i)
            for i in range(num - 1, max(num - 1 - NUM_EXTREMES, num_named - 1), -1)
        ),
    )


def speaker_summaries(statistics: Iterable[Statistic]) -> tuple[SpeakerSummary, ...]:
    """Return a line for each dimension of one model and condition."""
    rows = {(s.target, s.metric): s for s in statistics if s.slice_by == ""}
    return tuple(
        SpeakerSummary(
            target=target, cells=tuple(rows.get((target, metric)) for metric in SUMMARY_METRICS)
        )
        for target in wording.TARGETS
        if any((target, metric) in rows for metric in SUMMARY_METRICS)
    )


def pick_metric(table: pa.Table, target: str, metrics: Sequence[str]) -> str | None:
    """Return the first of `metrics` that any speaker has a row of for `target`."""
    of_target = table.filter(pc.equal(table.column("target"), target))
    present = set(of_target.column("metric").unique().to_pylist())
    return next((metric for metric in metrics if metric in present), None)


def _floats(table: pa.Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _name_ranks(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.asarray(pc.rank(table.column("speaker_id").combine_chunks(), tiebreaker="first"))


def _speaker(table: pa.Table, index: int) -> Speaker:
    row = table.slice(index, 1).to_pylist()[0]
    return Speaker(
        speaker_id=row["speaker_id"],
        value=row["value"],
        ci_low=_finite(row["ci_low"]),
        ci_high=_finite(row["ci_high"]),
        num_segments=row["num_segments"],
        reason=row["reason"],
        shrunk_value=_finite(row.get("shrunk_value")),
        shrunk_low=_finite(row.get("shrunk_low")),
        shrunk_high=_finite(row.get("shrunk_high")),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
