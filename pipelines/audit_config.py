"""What an audit computes, and what it finds; loads nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ser_model.schema import SCHEMA_VERSION, ConfigError

AUDIT_FILE = "audit.json"
"""Written last: where it is, the audit is complete."""

NUM_PARTITIONS = 32
"""Partitions of segments, and of speakers: at ten million rows some 300 thousand rows each. A
constant of the code and not of the machine, because the order of a sum is part of the bytes."""

JUDGED_METRICS = ("concordance_cc_gap", "unweighted_average_recall_gap")
"""The gaps that get a verdict, and so the family (per model and condition) that Holm corrects over.
Other gaps keep their plain p-value: more tests in the family would only hide true gaps."""

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What is computed.

    Attributes:
        slices: metadata columns to slice by, alone or crossed: (("sex",), ("sex", "accent")).
        seed: of the bootstrap.
        num_replicates: of the bootstrap; 1 or more.
        truth_range: scale of the truth in the metadata, mapped to 0..1.
    """

    slices: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    num_replicates: int = 1000
    truth_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.num_replicates < 1:
            raise ConfigError(f"the number of replicates is {self.num_replicates}, not 1 or more")

    def to_json(self) -> dict[str, object]:
        """Return all that decides the numbers, as it stands in audit.json."""
        return {
            "slices": [",".join(slice_by) for slice_by in self.slices],
            "truth_range": list(self.truth_range),
            "num_partitions": NUM_PARTITIONS,
            "judged_metrics": list(JUDGED_METRICS),
            "significance": SIGNIFICANCE,
            "schema_version": SCHEMA_VERSION,
        }


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
