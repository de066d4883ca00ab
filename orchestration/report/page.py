"""What the report shows, section by section, ready for the template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.report import wording
from orchestration.report.audit_folder import AuditFolder, Statistic
from orchestration.report.fairness import ColumnPanel, column_panels
from orchestration.report.figures import Axis, DensityFigure, density_figure, interval_axis
from orchestration.report.provenance import (
    Provenance,
    data_light,
    ledger_counts,
    model_names,
    read_provenance,
)
from orchestration.report.residuals import ResidualPanel, residual_panel
from orchestration.report.speakers import (
    AGREEMENT,
    SpeakerPanel,
    SpeakerSummary,
    pick_metric,
    speaker_panel,
    speaker_summaries,
)
from orchestration.report.verdict import Light, Verdict, headline_rows, judge, summarise
from ser_model.metrics.bins import QUARTERS
from ser_model.schema import CLEAN, DIMENSIONS, RunError

MAX_SECTIONS = 10
"""Models and conditions shown in full; all stand in the overview."""
MAX_OVERVIEW_ROWS = 200
MAX_EMOTIONS = 24
EMOTION = "emotion"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionPanel:
    """Results of a categorical model.

    Attributes:
        overall: UAR, accuracy and whatever else is said of all segments at once.
        per_class: for each emotion its recall, precision and F1 (any may be missing).
        axis: scale of their plots.
        emotions: rows and columns of the confusion matrix.
        confusion: counts, rows truth, columns prediction.
        row_totals: segments of each row.
        num_emotions: how many there are, shown or not.
    """

    overall: tuple[Statistic, ...]
    per_class: tuple[tuple[str, Statistic | None, Statistic | None, Statistic | None], ...]
    axis: Axis
    emotions: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    row_totals: tuple[int, ...]
    num_emotions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinPanel:
    """A dimension by quarter of its scale.

    Attributes:
        rows: for each quarter its recall and precision.
        axis: scale of their plots.
    """

    rows: tuple[tuple[str, Statistic | None, Statistic | None], ...]
    axis: Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One model under one condition, in full.

    Attributes:
        number: 1, 2 ... in the report.
        title: model and condition in words.
        verdict: the sentence, and the failed gaps in words.
        lights: the traffic lights of the verdict, and that of the data behind it.
        dimensions: for each dimension its statistics of all segments, by metric.
        bins: the dimensions by quarter of the scale, by dimension.
        emotion: results of a categorical model, or None.
        densities: truth against prediction, by dimension.
        fairness: comparisons of groups, by metadata column.
        speakers: sorted speakers, by target.
        summaries: what speakers say together, by dimension.
        agreements: how far this model and others agree on who is predicted well.
        residuals: truth minus prediction of dimensions, or None.
    """

    number: int
    title: str
    verdict: Verdict
    lights: tuple[Light, ...]
    dimensions: tuple[tuple[str, dict[str, Statistic]], ...]
    bins: tuple[tuple[str, BinPanel], ...]
    emotion: EmotionPanel | None
    densities: tuple[tuple[str, DensityFigure], ...]
    fairness: tuple[ColumnPanel, ...]
    speakers: tuple[SpeakerPanel, ...]
    summaries: tuple[SpeakerSummary, ...]
    agreements: tuple[Statistic, ...]
    residuals: ResidualPanel | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRow:
    """One model under one condition, in one line."""

    model_version: str
    condition: str
    verdict: Verdict
    headlines: tuple[Statistic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole report.

    Attributes:
        overview: all models and conditions, up to MAX_OVERVIEW_ROWS.
        num_pairs: how many models x conditions the audit holds.
        summary: the verdict on all of them together.
        sections: the first MAX_SECTIONS of them in full.
        provenance: join ledger, configuration, hashes, counts, notes.
    """

    overview: tuple[OverviewRow, ...]
    num_pairs: int
    summary: Verdict
    sections: tuple[Section, ...]
    provenance: Provenance


def build_page(folder: AuditFolder) -> Page:
    """Arrange an audit for reading.

    Raises:
        RunError: the audit holds no statistic at all.
    """
    by_pair: dict[tuple[str, str], list[Statistic]] = {}
    for row in folder.statistics:
        by_pair.setdefault((row.model_version, row.condition), []).append(row)
    if not by_pair:
        raise RunError(f"{folder.uri} holds no statistic: no prediction met its truth")
    pairs = sorted(by_pair, key=_clean_first)
    overview = tuple(_overview_row(*pair, by_pair[pair]) for pair in pairs[:MAX_OVERVIEW_ROWS])
    sections = tuple(
        _section(number, row, by_pair[row.model_version, row.condition], folder)
        for number, row in enumerate(overview[:MAX_SECTIONS], start=1)
    )
    return Page(
        overview=overview,
        num_pairs=len(pairs),
        summary=summarise([row.verdict for row in overview]),
        sections=sections,
        provenance=read_provenance(folder),
    )


def _overview_row(
    model_version: str, condition: str, statistics: Sequence[Statistic]
) -> OverviewRow:
    return OverviewRow(
        model_version=model_version,
        condition=condition,
        verdict=judge(statistics),
        headlines=tuple(headline_rows(statistics)),
    )


def _clean_first(pair: tuple[str, str]) -> tuple[bool, int, str, str]:
    model_version, condition = pair
    return condition != CLEAN, len(model_version), model_version, condition


def _section(
    number: int,
    row: OverviewRow,
    statistics: Sequence[Statistic],
    folder: AuditFolder,
) -> Section:
    overall = [s for s in statistics if s.slice_by == ""]
    counts = ledger_counts(folder)
    names = model_names(folder)
    by_target = {
        target: {s.metric: s for s in overall if s.target == target} for target in DIMENSIONS
    }
    return Section(
        number=number,
        title=wording.title(names.get(row.model_version, row.model_version), row.condition),
        lights=(*row.verdict.lights, data_light(counts.get((row.model_version, row.condition)))),
        verdict=row.verdict,
        dimensions=tuple((target, of) for target, of in by_target.items() if of),
        bins=tuple(
            (target, panel) for target, of in by_target.items() if (panel := _bin_panel(of))
        ),
        emotion=_emotion_panel(
            [s for s in overall if s.target == EMOTION], _of_pair(folder.confusion, row)
        ),
        densities=tuple(_densities(_of_pair(folder.densities, row))),
        fairness=tuple(column_panels(statistics)),
        speakers=tuple(_speaker_panels(_of_pair(folder.speakers, row), overall)),
        summaries=speaker_summaries(statistics),
        agreements=tuple(s for s in statistics if s.metric == AGREEMENT),
        residuals=residual_panel(statistics),
    )


def _of_pair(table: pa.Table, row: OverviewRow) -> pa.Table:
    if table.num_rows == 0:
        return table
    is_model = pc.equal(table.column("model_version"), row.model_version)
    is_condition = pc.equal(table.column("condition"), row.condition)
    return table.filter(pc.and_(is_model, is_condition))


def _densities(table: pa.Table) -> Iterable[tuple[str, DensityFigure]]:
    for target in DIMENSIONS:
        cells = [row for row in table.to_pylist() if row["target"] == target]
        if cells:
            yield (
                target,
                density_figure(
                    [cell["truth_bin"] for cell in cells],
                    [cell["prediction_bin"] for cell in cells],
                    [cell["num_segments"] for cell in cells],
                ),
            )


def _speaker_panels(table: pa.Table, overall: Sequence[Statistic]) -> Iterable[SpeakerPanel]:
    if table.num_rows == 0:
        return
    for target in wording.TARGETS:
        for metrics in (wording.HEADLINE_METRICS, (wording.DRAWS_METRIC,)):
            metric = pick_metric(table, target, metrics)
            if metric is not None:
                yield from _speaker_panel(table, overall, target, metric)


def _speaker_panel(
    table: pa.Table, overall: Sequence[Statistic], target: str, metric: str
) -> Iterable[SpeakerPanel]:
    values = (s.value for s in overall if (s.target, s.metric) == (target, metric))
    panel = speaker_panel(table, target=target, metric=metric, reference=next(values, None))
    if panel is not None:
        yield panel


def _bin_panel(by_metric: Mapping[str, Statistic]) -> BinPanel | None:
    rows = tuple((name, *_of_class(by_metric, name)[:2]) for name in QUARTERS)
    shown = [s for _, *pair in rows for s in pair if s is not None]
    if not shown:
        return None
    return BinPanel(rows=rows, axis=interval_axis(shown, include=(0.0, 1.0)))


def _of_class(
    by_metric: Mapping[str, Statistic], name: str
) -> tuple[Statistic | None, Statistic | None, Statistic | None]:
    recall, precision, f1 = (by_metric.get(f"{k}[{name}]") for k in ("recall", "precision", "f1"))
    return recall, precision, f1


def _emotion_panel(overall: Sequence[Statistic], confusion: pa.Table) -> EmotionPanel | None:
    if not overall:
        return None
    by_metric = {s.metric: s for s in overall}
    counts = {
        (row["truth"], row["prediction"]): row["num_segments"] for row in confusion.to_pylist()
    }
    all_emotions = sorted({emotion for pair in counts for emotion in pair})
    emotions = all_emotions[:MAX_EMOTIONS]
    matrix = tuple(tuple(counts.get((t, p), 0) for p in emotions) for t in emotions)
    per_class = tuple((emotion, *_of_class(by_metric, emotion)) for emotion in emotions)
    shown = [s for _, recall, precision, _ in per_class for s in (recall, precision) if s]
    return EmotionPanel(
        overall=tuple(s for s in overall if "[" not in s.metric),
        per_class=per_class if shown else (),
        axis=interval_axis(shown, include=(0.0, 1.0)),
        emotions=tuple(emotions),
        confusion=matrix,
        row_totals=tuple(sum(row) for row in matrix),
        num_emotions=len(all_emotions),
    )
