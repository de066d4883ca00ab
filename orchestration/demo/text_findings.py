"""What the audit of audio, text and fusion found, read from its tables and said in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.demo.held_out import COLUMN, KNOWN, NEW
from ser_model import storage
from ser_model.schema import CLEAN, DIMENSIONS

Row = Mapping[str, Any]

SHOWN = (
    *((dimension, "") for dimension in DIMENSIONS),
    ("valence", f"{COLUMN}={KNOWN}"),
    ("valence", f"{COLUMN}={NEW}"),
)
"""Target and slice of each line; "" is all test segments."""

_KINDS = {"": "all sentences", KNOWN: "sentences trained on", NEW: "sentences held out"}
_FIELDS = ("value", "ci_low", "ci_high")
_WIDTH = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFindings:
    """The numbers of the summary.

    Attributes:
        concordance_cc: for each model (audio, text, fusion) the statistic of each of SHOWN; some
            may be missing.
        gains: CCC of the fusion's valence minus that of audio alone, by the kind of sentence.
    """

    concordance_cc: Mapping[str, Mapping[tuple[str, str], Row]]
    gains: Mapping[str, Row]

    def as_data(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {
            "concordance_cc": [
                {"model": model, "target": target, "slice": slice_name, **_numbers(row)}
                for model, rows in self.concordance_cc.items()
                for (target, slice_name), row in rows.items()
            ],
            "valence_fusion_minus_audio": {
                _KINDS[kind]: _numbers(row) for kind, row in self.gains.items()
            },
        }

    def as_text(self) -> str:
        """Return a table for people."""
        models = self.concordance_cc
        lines = [
            "CCC on unseen speakers of a model that hears, one that reads, and one that does both",
            f"  {'':<24}" + "".join(f"{model:<{_WIDTH}}" for model in models).rstrip(),
        ]
        for target, slice_name in SHOWN:
            kind = slice_name.rpartition("=")[2]
            name = f"  {_KINDS[kind]}" if kind else target
            cells = [_cell(rows.get((target, slice_name))) for rows in models.values()]
            lines.append(f"  {name:<24}" + "".join(f"{cell:<{_WIDTH}}" for cell in cells).rstrip())
        gains = [f"    {_KINDS[kind]:<22}{_cell(row)}" for kind, row in self.gains.items()]
        return "\n".join(
            [
                *lines,
                "  fusion minus audio in valence, of the same draws of speakers",
                *gains,
                "(the speakers are new, most sentences are not: of those it is enough to know",
                "by heart how each is meant; those held out of training show what is understood)",
            ]
        )


def read_text_findings(
    audit: str, model_uris: Mapping[str, str], gains: Mapping[str, Row]
) -> TextFindings:
    """Read the tables of the audit.

    Args:
        audit: folder that `serval audit` wrote.
        model_uris: by what each model is called here.
        gains: as from `paired_gains`.
    """
    table = storage.read_table(storage.join(audit, "statistics.parquet"))
    rows = {
        (row["model_version"], row["target"], row["slice"]): row
        for row in table.to_pylist()
        if row["condition"] == CLEAN and row["metric"] == "concordance_cc"
    }
    versions = {model: uri.removeprefix("models:/") for model, uri in model_uris.items()}
    return TextFindings(
        concordance_cc={
            model: {shown: rows[key] for shown in SHOWN if (key := (version, *shown)) in rows}
            for model, version in versions.items()
        },
        gains={kind: gains[kind] for kind in _KINDS},  # a record of a step sorts its keys
    )


def _numbers(row: Row) -> dict[str, Any]:
    return {field: row[field] for field in (*_FIELDS, "num_segments")}


def _cell(row: Row | None) -> str:
    if row is None or row["value"] is None:
        return "   -"
    value, low, high = (None if row[f] is None else f"{row[f]:5.2f}" for f in _FIELDS)
    return f"{value}" if low is None else f"{value} [{low}, {high}]"
