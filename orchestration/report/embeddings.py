"""The sampled embeddings as pictures, and beside them what their neighbours say.

The pictures are those of Wagner et al. 2023, Fig. 10: each segment where t-SNE puts its embedding,
once for each thing that may be read from it. Positions stand on a grid of whole numbers, and marks
of one colour are one SVG path, so that all pictures together stay below MAX_PLOT_BYTES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestration.report import wording
from orchestration.report.audit_folder import AuditFolder, Statistic
from ser_model.schema import DIMENSIONS

MAX_MODELS = 6
MAX_PLOTS = 8
"""Of a model."""

MAX_GROUPS = 8
"""Colours that can be told apart; all other groups share one."""

MAX_PLOT_BYTES = 300_000
GRID = 400

_BYTES_PER_PLOT = 1_500
"""Its frame, title, description and legend."""

_BYTES_PER_POINT = 9
"""At most: "m-399-399h0" is the longest, but neighbours in a path are near each other."""

FIFTHS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "highest fifth")
OTHER = "other or unknown"
SHARE, BY_CHANCE, CORRELATION = (
    "neighbour_share",
    "neighbour_share_by_chance",
    "neighbour_pearson_cc",
)

Texts = Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The segments of one colour.

    Attributes:
        label: what they have in common.
        colour: the class that colours them.
        num_segments: of the sample, drawn or not.
        path: where they are.
    """

    label: str
    colour: str
    num_segments: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture of one model's sample, coloured by one thing.

    Attributes:
        name: what it is coloured by.
        groups: those that are drawn later lie above.
    """

    name: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEmbeddings:
    """The sample of one model.

    Attributes:
        title: the model.
        num_segments: of the sample.
        num_drawn: how many of them are in a picture.
        plots: none where nothing could be projected.
        shares: for each column the share of neighbours with the same value, and that by chance.
        correlations: of the truth of a dimension with that of the neighbours.
    """

    title: str
    num_segments: int
    num_drawn: int
    plots: tuple[Plot, ...]
    shares: tuple[tuple[str, Statistic, Statistic | None], ...]
    correlations: tuple[Statistic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPanel:
    """The samples of the first MAX_MODELS of num_models."""

    models: tuple[ModelEmbeddings, ...]
    num_models: int


def embedding_panel(folder: AuditFolder, names: Mapping[str, str]) -> EmbeddingPanel | None:
    """Arrange the sampled embeddings; None where no run kept any.

    Args:
        folder: the audit.
        names: what to call a model, by its version.
    """
    table = folder.embeddings
    if not table.num_rows:
        return None
    versions = sorted(set(table["model_version"].to_pylist()), key=lambda v: (len(v), v))
    samples = {
        version: table.filter(pc.equal(table["model_version"], version))
        for version in versions[:MAX_MODELS]
    }
    minimums = _minimums(folder)
    colourings = {version: _colourings(rows, minimums) for version, rows in samples.items()}
    num_plots = max(sum(map(len, colourings.values())), 1)
    per_plot = (MAX_PLOT_BYTES // num_plots - _BYTES_PER_PLOT) // _BYTES_PER_POINT
    models = tuple(
        _model(
            names.get(version, version),
            rows,
            colourings[version],
            [s for s in folder.statistics if s.model_version == version],
            max_points=max(per_plot, 0),
        )
        for version, rows in samples.items()
    )
    return EmbeddingPanel(models=models, num_models=len(versions))


def path_of(points_P2: NDArray[np.int64]) -> str:
    """Return a path of round marks, each relative to the one before.

    >>> path_of(np.array([[3, 4], [1, 9]]))
    'm1 9h0m2-5h0'
    """
    ordered = points_P2[np.lexsort((points_P2[:, 1], points_P2[:, 0]))]
    steps = np.diff(ordered, axis=0, prepend=[[0, 0]]).tolist()
    return "".join(f"m{x}{y}h0" if y < 0 else f"m{x} {y}h0" for x, y in steps)


def _model(
    name: str,
    rows: pa.Table,
    colourings: Mapping[str, Texts],
    statistics: Sequence[Statistic],
    *,
    max_points: int,
) -> ModelEmbeddings:
    points_N2 = _on_grid(rows)
    num_drawn = min(max_points, len(points_N2))
    # Evenly spread over the sample, which is sorted by segment: over recordings, too.
    drawn = np.unique(np.linspace(0, max(len(points_N2) - 1, 0), num_drawn).astype(np.int64))
    plots = [_plot(title, labels, points_N2, drawn) for title, labels in colourings.items()]
    by_metric = {s.metric: s for s in statistics if s.slice_by == ""}
    shares = [
        (column, row, by_metric.get(f"{BY_CHANCE}[{column}]"))
        for metric, row in sorted(by_metric.items())
        if metric.startswith(f"{SHARE}[")
        for column in [metric.removeprefix(f"{SHARE}[").removesuffix("]")]
    ]
    correlations = [s for s in statistics if s.metric == CORRELATION and s.slice_by == ""]
    return ModelEmbeddings(
        title=wording.model_title(name),
        num_segments=rows.num_rows,
        num_drawn=drawn.size,
        plots=tuple(plots) if drawn.size else (),
        shares=tuple(shares),
        correlations=tuple(sorted(correlations, key=lambda s: DIMENSIONS.index(s.target))),
    )


def _on_grid(rows: pa.Table) -> NDArray[np.int64]:
    """[N, 2] positions on 0..GRID, or [0, 2] where t-SNE had nothing to project."""
    found_N2 = np.stack([rows[name].to_numpy().astype(np.float64) for name in ("x", "y")], axis=1)
    if not len(found_N2) or not np.isfinite(found_N2).all():
        return np.zeros((0, 2), dtype=np.int64)
    low, high = found_N2.min(axis=0), found_N2.max(axis=0)
    span = max(float((high - low).max()), 1e-9)
    centred_N2 = (found_N2 - (low + high) / 2.0) / span
    return np.asarray(np.rint((centred_N2 + 0.5) * GRID), dtype=np.int64)


def _plot(name: str, labels: Texts, points_N2: NDArray[np.int64], drawn: NDArray[np.int64]) -> Plot:
    counts = Counter(labels)
    if set(counts) <= {*FIFTHS, None}:
        order = [label for label in FIFTHS if label in counts]
        colours = {label: f"fifth-{FIFTHS.index(label)}" for label in order}
    else:
        order = sorted(label for label in counts if label is not None)
        colours = {label: f"group-{index}" for index, label in enumerate(order)}
    groups = []
    for label in [*([None] if None in counts else []), *order]:
        at = [index for index in drawn.tolist() if index < len(labels) and labels[index] == label]
        groups.append(
            Group(
                label=OTHER if label is None else label,
                colour="group-other" if label is None else colours[label],
                num_segments=counts[label],
                path=path_of(points_N2[at]) if at else "",
            )
        )
    return Plot(name=name, groups=tuple(groups))


def _colourings(rows: pa.Table, minimums: tuple[int, int]) -> dict[str, Texts]:
    """What the pictures of a model are coloured by: for each its title, and a label a segment."""
    found: dict[str, Texts] = {}
    for dimension in DIMENSIONS:
        for side, words in (("truth", "truth of"), ("prediction", "predicted")):
            values = rows[f"{side}_{dimension}"].to_numpy(zero_copy_only=False)
            if np.isfinite(values).sum() >= 2 * len(FIFTHS):
                found[f"{words} {dimension}"] = _fifths(values)
                break
    for side in ("truth", "prediction"):
        emotions = rows[f"{side}_emotion"].to_pylist()
        if any(emotions):
            found["emotion" if side == "truth" else "predicted emotion"] = _largest(emotions)
            break
    speakers = rows["speaker_id"].to_pylist()
    attributes = [dict(pairs) for pairs in rows["attributes"].to_pylist()]
    for column in sorted({name for of_segment in attributes for name in of_segment}):
        values = [of_segment.get(column) for of_segment in attributes]
        labels = _largest(_large_enough(values, speakers, minimums))
        if len(set(labels)) > 1:
            found[column] = labels
    first = [*found.items()][: MAX_PLOTS - 1]
    return {**dict(first), "speaker": _largest(speakers)}


def _fifths(values_N: NDArray[np.float64]) -> Texts:
    finite = np.isfinite(values_N)
    edges = np.quantile(values_N[finite], [0.2, 0.4, 0.6, 0.8])
    fifths = np.searchsorted(edges, np.where(finite, values_N, 0.0), side="right").tolist()
    return [FIFTHS[n] if there else None for n, there in zip(fifths, finite, strict=True)]


def _largest(values: Texts) -> Texts:
    """Keep the largest groups; of equal ones the first in alphabetical order."""
    counts = Counter(value for value in values if value)
    kept = sorted(counts, key=lambda value: (-counts[value], value))[:MAX_GROUPS]
    return [value if value in kept else None for value in values]


def _large_enough(values: Texts, speakers: Texts, minimums: tuple[int, int]) -> Texts:
    """Leave out groups that would be suppressed."""
    members: dict[str, list[str | None]] = {}
    for value, speaker in zip(values, speakers, strict=True):
        if value is not None:
            members.setdefault(value, []).append(speaker)
    shown = {
        value
        for value, who in members.items()
        if len(who) >= minimums[0] and len(set(who)) >= minimums[1]
    }
    return [value if value in shown else None for value in values]


def _minimums(folder: AuditFolder) -> tuple[int, int]:
    configuration: Mapping[str, int] = folder.audit.get("configuration", {})
    return configuration.get("min_segments", 1), configuration.get("min_speakers", 1)
