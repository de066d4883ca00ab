"""What the report shows, section by section, ready for the template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.report import wording
from orchestration.report.audit_folder import AuditFolder, Statistic
from orchestration.report.boxes import BoxPanel, box_panel
from orchestration.report.correctness import (
    BinPanel,
    EmotionPanel,
    bin_panel,
    density_figures,
    emotion_panel,
)
from orchestration.report.decision import DecisionPanel, decision_panel
from orchestration.report.embeddings import EmbeddingPanel, embedding_panel
from orchestration.report.extremes import AudioPanel
from orchestration.report.fairness import ColumnPanel, column_panels
from orchestration.report.figures import DensityFigure
from orchestration.report.links import Link
from orchestration.report.pairs import PairPanel, change_panels, model_panels
from orchestration.report.provenance import (
    Provenance,
    data_light,
    ledger_counts,
    model_names,
    read_provenance,
)
from orchestration.report.residuals import ResidualPanel, residual_panel
from orchestration.report.robustness import ConditionPanel, condition_panel
from orchestration.report.speakers import (
    AGREEMENT,
    SpeakerPanel,
    SpeakerSummary,
    pick_metric,
    speaker_panel,
    speaker_summaries,
)
from orchestration.report.suite import SuitePanel, suite_panel
from orchestration.report.systems import SystemPanel, system_panels
from orchestration.report.verdict import Light, Verdict, headline_rows, judge, summarise
from ser_model.schema import CLEAN, DIMENSIONS, RunError

MAX_SECTIONS = 10
"""Models shown in full; all stand in the overview."""
MAX_OVERVIEW_ROWS = 200
EMOTION = "emotion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One model under one condition, in full.

    Attributes:
        number: 1, 2 ... in the report.
        model: URI of the model, or its version where it has none.
        condition: "clean", or the name of an augmentation.
        title: model and condition in words.
        verdict: the sentence, and the failed gaps in words.
        lights: the traffic lights of the verdict, and that of the data behind it.
        dimensions: for each dimension its statistics of all segments, by metric.
        bins: the dimensions by quarter of the scale, by dimension.
        emotion: results of a categorical model, or None.
        densities: truth against prediction, by dimension.
        fairness: comparisons of groups, by metadata column.
        num_columns: how many such columns there are, shown or not.
        speakers: sorted speakers, by target.
        summaries: what speakers say together, by dimension.
        agreements: how far this model and others agree on who is predicted well.
        robustness: how the model changes under other conditions; of the section on clean audio.
        conditions: scores, shifts and gaps under them, of the same section; or None.
        residuals: truth minus prediction of dimensions, or None.
        boxes: how residuals are distributed, or None.
    """

    number: int
    model: str
    condition: str
    title: str
    verdict: Verdict
    lights: tuple[Light, ...]
    dimensions: tuple[tuple[str, dict[str, Statistic]], ...]
    bins: tuple[tuple[str, BinPanel], ...]
    emotion: EmotionPanel | None
    densities: tuple[tuple[str, DensityFigure], ...]
    fairness: tuple[ColumnPanel, ...]
    num_columns: int
    speakers: tuple[SpeakerPanel, ...]
    summaries: tuple[SpeakerSummary, ...]
    agreements: tuple[Statistic, ...]
    robustness: tuple[PairPanel, ...]
    conditions: ConditionPanel | None
    residuals: ResidualPanel | None
    boxes: BoxPanel | None


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
        overview: all models on clean audio, up to MAX_OVERVIEW_ROWS; a model that was not scored on
            it under each of its conditions.
        num_pairs: how many there are.
        summary: the verdict on all of them together.
        decision: what a gate decided, or None.
        sections: the first MAX_SECTIONS of them in full.
        embeddings: what is known of a sample of kept embeddings, or None.
        audio: the segments with the largest residuals, to be heard; None unless asked for.
        comparisons: of models with each other, by condition.
        systems: runs of one system taken together, by condition.
        suite: the tests of the suite that was asked for, or None.
        provenance: join ledger, configuration, hashes, counts, notes.
    """

    overview: tuple[OverviewRow, ...]
    num_pairs: int
    summary: Verdict
    decision: DecisionPanel | None
    sections: tuple[Section, ...]
    embeddings: EmbeddingPanel | None
    comparisons: tuple[PairPanel, ...]
    systems: tuple[SystemPanel, ...]
    suite: SuitePanel | None
    provenance: Provenance
    audio: AudioPanel | None = None


def build_page(folder: AuditFolder, links: Iterable[Link] = ()) -> Page:
    """Arrange an audit for reading.

    Args:
        folder: the audit.
        links: to what belongs to it elsewhere.

    Raises:
        RunError: the audit holds no statistic at all.
    """
    by_pair: dict[tuple[str, str], list[Statistic]] = {}
    for row in folder.statistics:
        by_pair.setdefault((row.model_version, row.condition), []).append(row)
    if not by_pair:
        raise RunError(f"{folder.uri} holds no statistic: no prediction met its truth")
    pairs = sorted(_to_show(by_pair), key=_clean_first)
    is_cross_corpus = bool(folder.audit.get("configuration", {}).get("cross_corpus"))
    overview = tuple(
        _overview_row(*pair, by_pair[pair], is_cross_corpus=is_cross_corpus)
        for pair in pairs[:MAX_OVERVIEW_ROWS]
    )
    sections = tuple(
        _section(number, row, by_pair[row.model_version, row.condition], folder)
        for number, row in enumerate(overview[:MAX_SECTIONS], start=1)
    )
    return Page(
        overview=overview,
        num_pairs=len(pairs),
        summary=summarise([row.verdict for row in overview]),
        decision=decision_panel(folder),
        sections=sections,
        embeddings=embedding_panel(folder, model_names(folder)),
        comparisons=model_panels(folder.statistics, model_names(folder)),
        systems=system_panels(folder.audit),
        suite=suite_panel(folder, model_names(folder)),
        provenance=read_provenance(folder, links),
    )


def _overview_row(
    model_version: str, condition: str, statistics: Sequence[Statistic], *, is_cross_corpus: bool
) -> OverviewRow:
    return OverviewRow(
        model_version=model_version,
        condition=condition,
        verdict=judge(statistics, is_cross_corpus=is_cross_corpus),
        headlines=tuple(headline_rows(statistics, is_cross_corpus=is_cross_corpus)),
    )


def _to_show(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each model on clean audio, where what conditions do to it stands too; else all it has."""
    present = set(pairs)
    return [pair for pair in present if pair[1] == CLEAN or (pair[0], CLEAN) not in present]


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
    columns, num_columns = column_panels(statistics)
    model = names.get(row.model_version, row.model_version)
    by_target = {
        target: {s.metric: s for s in overall if s.target == target} for target in DIMENSIONS
    }
    return Section(
        number=number,
        model=model,
        condition=row.condition,
        title=wording.title(model, row.condition),
        lights=(*row.verdict.lights, data_light(counts.get((row.model_version, row.condition)))),
        verdict=row.verdict,
        dimensions=tuple((target, of) for target, of in by_target.items() if of),
        bins=tuple((target, panel) for target, of in by_target.items() if (panel := bin_panel(of))),
        emotion=emotion_panel(
            [s for s in overall if s.target == EMOTION], _of_pair(folder.confusion, row)
        ),
        densities=tuple(density_figures(_of_pair(folder.densities, row))),
        fairness=tuple(columns),
        num_columns=num_columns,
        speakers=tuple(_speaker_panels(_of_pair(folder.speakers, row), overall)),
        summaries=speaker_summaries(statistics),
        agreements=tuple(s for s in statistics if s.metric == AGREEMENT),
        robustness=_robustness(row, folder, model),
        conditions=_conditions(row, folder),
        residuals=residual_panel(statistics),
        boxes=box_panel(statistics),
    )


def _robustness(row: OverviewRow, folder: AuditFolder, model: str) -> tuple[PairPanel, ...]:
    """Changes are against clean, so they stand where clean is shown."""
    if row.condition != CLEAN:
        return ()
    return change_panels(folder.statistics, row.model_version, model)


def _conditions(row: OverviewRow, folder: AuditFolder) -> ConditionPanel | None:
    if row.condition != CLEAN:
        return None
    return condition_panel(folder.statistics, row.model_version)


def _of_pair(table: pa.Table, row: OverviewRow) -> pa.Table:
    if table.num_rows == 0:
        return table
    is_model = pc.equal(table.column("model_version"), row.model_version)
    is_condition = pc.equal(table.column("condition"), row.condition)
    return table.filter(pc.and_(is_model, is_condition))


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
