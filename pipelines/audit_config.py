"""What an audit computes, and what it finds; loads nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ser_model.schema import SCHEMA_VERSION, ConfigError

AUDIT_FILE = "audit.json"
"""Written last: where it is, the audit is complete."""

REPLICATES_FILE = "replicates.parquet"
SKETCHES_FILE = "sketches.parquet"
GATE_TABLES = (REPLICATES_FILE, SKETCHES_FILE)
"""What `serval gate` reads of two audits; audit.json holds their hashes."""

NUM_PARTITIONS = 32
"""Partitions of segments, and of speakers: at ten million rows some 300 thousand rows each. A
constant of the code and not of the machine, because the order of a sum is part of the bytes."""

DEFAULT_MARGINS: Mapping[str, float | None] = {
    "concordance_cc": 0.075,
    "unweighted_average_recall": 0.075,
}
"""How large a gap may be at most to pass, by metric: the thresholds of ser-tests between sexes
(Derington et al. 2023, arXiv 2312.06270). There they hold for a group against all segments; here
for a group against a group or the rest, which is stricter. The metrics that have a margin are the
ones that are judged, and so the family that is corrected for: more tests in it would only hide
true gaps."""

CROSS_CORPUS_MARGINS: Mapping[str, float | None] = {
    "pearson_cc": 0.075,
    "unweighted_average_recall": 0.075,
}
"""The same where the truth is of another corpus than the model was trained on: raters elsewhere use
another part of the scale, which CCC takes for errors of the model and PCC does not."""

SIGNIFICANCE = 0.05

MARGINS = ("given", "permutation")
"""Where the margin beyond which a gap fails comes from."""

SUITES = ("ser-tests",)
"""Suites of tests that can be asked for; docs/ser-tests.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimums:
    """What a slice needs so that it is shown.

    Attributes:
        segments: 1 or more.
        speakers: 1 or more.
    """

    segments: int = 20
    speakers: int = 3

    def __post_init__(self) -> None:
        """Refuse what can never be."""
        for name in ("segments", "speakers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"the minimum of {name} is {getattr(self, name)}, not 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What is computed.

    Attributes:
        slices: metadata columns to slice by, alone or crossed: (("sex",), ("sex", "accent")).
        strata: columns to slice by without comparing the slices: what is said or how, not who.
        seed: of the bootstrap and of permutations.
        num_replicates: of the bootstrap, and of permutations; 1 or more.
        truth_range: scale of the truth in the metadata, mapped to 0..1.
        margins: largest gap that passes, by metric; None judges a metric by its test against 0.
            A metric of classes or bins ("recall") stands for all of them.
        margins_from: one of MARGINS.
        minimums: below them a slice is suppressed.
        speaker_draws: whether the papers' figure on speakers is wanted (see `speaker_draws`).
        suite: one of SUITES, whose tests are judged; None for none.
        groupings: what the suite compares, of those that the metadata has columns for.
        prediction_range: scale of the predictions, mapped to 0..1.
        cross_corpus: whether the truth is of another corpus than the models were trained on: PCC is
            shown first in the place of CCC.
        systems: model versions of each system, whose runs are compared (see `systems`).
        training_speakers: of whom the models were trained; None where that is not known.
        keep_dimension_order: whether dimensions that seem permuted are audited as they are.
    """

    slices: tuple[tuple[str, ...], ...] = ()
    strata: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    num_replicates: int = 1000
    truth_range: tuple[float, float] = (0.0, 1.0)
    margins: Mapping[str, float | None] = field(default_factory=lambda: dict(DEFAULT_MARGINS))
    margins_from: str = "given"
    minimums: Minimums = Minimums()
    speaker_draws: bool = False
    suite: str | None = None
    groupings: tuple[str, ...] = ()
    prediction_range: tuple[float, float] = (0.0, 1.0)
    cross_corpus: bool = False
    systems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    training_speakers: frozenset[str] | None = None
    keep_dimension_order: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.num_replicates < 1:
            raise ConfigError(f"the number of replicates is {self.num_replicates}, not 1 or more")
        if self.margins_from not in MARGINS:
            raise ConfigError(f"margins are {self.margins_from!r}, not one of {', '.join(MARGINS)}")
        if self.suite is not None and self.suite not in SUITES:
            raise ConfigError(f"there is no suite {self.suite!r}, only {', '.join(SUITES)}")
        for metric, margin in self.margins.items():
            if margin is not None and not margin > 0:
                raise ConfigError(f"the margin of {metric} is {margin}, not more than 0")

    def to_json(self) -> dict[str, object]:
        """Return all that decides the numbers, as it stands in audit.json."""
        suite = {} if self.suite is None else {"suite": self.suite}
        return {
            **suite,
            "slices": [",".join(slice_by) for slice_by in self.slices],
            "strata": [",".join(slice_by) for slice_by in self.strata],
            "truth_range": list(self.truth_range),
            "prediction_range": list(self.prediction_range),
            "cross_corpus": self.cross_corpus,
            "systems": {name: list(versions) for name, versions in self.systems.items()},
            "keep_dimension_order": self.keep_dimension_order,
            "num_partitions": NUM_PARTITIONS,
            "margins": dict(self.margins),
            "margins_from": self.margins_from,
            "min_segments": self.minimums.segments,
            "min_speakers": self.minimums.speakers,
            "speaker_draws": self.speaker_draws,
            "significance": SIGNIFICANCE,
            "schema_version": SCHEMA_VERSION,
        }

    def is_compared(self, slice_by: str) -> bool:
        """Tell whether gaps between the slices by these columns are wanted."""
        return slice_by not in {",".join(columns) for columns in self.strata}


def is_judged(metric: str, margins: Mapping[str, float | None]) -> bool:
    """Tell whether a metric of statistics.parquet is a gap that gets a verdict.

    >>> is_judged("recall[joy]_gap", {"recall": 0.1}), is_judged("recall[joy]", {"recall": 0.1})
    (True, False)
    """
    return metric.endswith("_gap") and _margin_name(metric, margins) in margins


def margin_of(metric: str, margins: Mapping[str, float | None]) -> float | None:
    """Return the margin of a gap that is judged.

    >>> margin_of("recall[joy]_gap", {"recall": 0.1, "recall[joy]": 0.2})
    0.2
    """
    return margins[_margin_name(metric, margins)]


def _margin_name(metric: str, margins: Mapping[str, float | None]) -> str:
    """The metric itself where it has a margin of its own, else its kind."""
    name = metric.removesuffix("_gap")
    return name if name in margins else name.partition("[")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary:
    """What an audit found.

    Attributes:
        output: the folder.
        audit: the content of audit.json.
        statistics: schema.STATISTICS.
    """

    output: str
    audit: Mapping[str, Any]
    statistics: pa.Table
