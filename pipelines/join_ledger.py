"""The join ledger: what became of every prediction and of every row of metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.transforms.dimension_order import LIKELY_ORDER
from pipelines.transforms.reading import ERROR, TARGETS
from pipelines.transforms.tables import MISSING
from pipelines.transforms.training_speakers import TRAINING_SEGMENTS, TRAINING_SPEAKERS
from ser_model.schema import DIMENSIONS, ManifestError, RunError

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinLedger:
    """Counts of the join; the names and their rules are those of `transforms.joining`.

    Attributes:
        overall: counts that belong to no model: `metadata`, `duplicate_metadata`,
            `prediction_rows_read`.
        by_model: counts by (model version, condition).
        metadata_example: a segment_id of the metadata.
        unmatched_examples: one of each model's unmatched predictions.
        likely_orders: of models whose dimensions seem permuted, the column of the predictions for
            the truth of each dimension.
        error: why a file could not be read.
    """

    overall: Counts
    by_model: Mapping[tuple[str, str], Counts]
    metadata_example: str | None = None
    unmatched_examples: Mapping[tuple[str, str], str]
    likely_orders: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def from_table(cls, table: pa.Table) -> JoinLedger:
        """Read added up LEDGER_ROWS."""
        overall: dict[str, int] = {}
        by_model: dict[tuple[str, str], dict[str, int]] = {}
        details: dict[tuple[str, str, str], str] = {}
        orders: dict[tuple[str, str], tuple[str, ...]] = {}
        for row in table.to_pylist():
            key = (row["model_version"], row["condition"])
            if row["name"] == LIKELY_ORDER:
                orders[key] = tuple(row["detail"].split(","))
                continue
            is_overall = row["name"] in (
                "metadata",
                "duplicate_metadata",
                "prediction_rows_read",
                ERROR,
            )
            counts = overall if is_overall else by_model.setdefault(key, {})
            counts[row["name"]] = row["num_segments"]
            if row["detail"] is not None:
                details[(*key, row["name"])] = row["detail"]
        return cls(
            overall=overall,
            by_model=by_model,
            metadata_example=details.get(("", "", "metadata")),
            unmatched_examples={
                (version, condition): detail
                for (version, condition, name), detail in details.items()
                if name == "unmatched_predictions"
            },
            likely_orders=orders,
            error=details.get(("", "", ERROR)),
        )

    def check(self, metadata: str, *, keep_dimension_order: bool = False) -> None:
        """Refuse a join that is not fit for an audit.

        Args:
            metadata: the metadata's name, for messages.
            keep_dimension_order: whether dimensions that seem permuted are taken as they are.

        Raises:
            RunError: a file cannot be read, nothing matched, nothing could be scored, dimensions
                seem permuted, or the counts do not add up.
            ManifestError: a segment_id stands in the metadata twice.
        """
        if self.error is not None:
            raise RunError(self.error)
        if self.overall.get("duplicate_metadata", 0):
            raise ManifestError(
                f"{metadata} has {self.overall['duplicate_metadata']} rows with a segment_id that "
                "another row has too; each needs its own"
            )
        if not self.overall.get("prediction_rows_read", 0):
            raise RunError("there are no predictions in these runs: nothing to audit")
        for model, counts in self.by_model.items():
            self._check_matched(metadata, model, counts)
        self._check_balance()
        for model, order in self.likely_orders.items():
            if not keep_dimension_order:
                raise RunError(
                    f"{_describe(model)}: {_describe_order(order)}; name the columns of its "
                    "predictions right, or give --keep-dimension-order if it is just a bad model"
                )

    def _check_matched(self, metadata: str, model: tuple[str, str], counts: Counts) -> None:
        name = _describe(model)
        if not counts["matched"]:
            raise RunError(
                f"none of the {counts['predictions']} predictions of {name} is in {metadata}: they "
                f"have a segment_id such as {self.unmatched_examples.get(model)!r}, the metadata "
                f"such as {self.metadata_example!r}"
            )
        if not any(counts[f"{target}_scored"] for target in TARGETS):
            raise RunError(
                f"nothing to audit of {name}: no segment has both a prediction and a truth of "
                f"{', '.join(TARGETS)} (truth stands in columns of these names in {metadata})"
            )

    def _check_balance(self) -> None:
        read = self.overall["prediction_rows_read"]
        joined = sum(counts["predictions"] for counts in self.by_model.values())
        if read != joined:
            raise RunError(f"{read} predictions were read, but {joined} came to the join")
        for model, counts in self.by_model.items():
            parts = ("duplicate_predictions", "matched", "unmatched_predictions")
            _check_sum(model, counts, "predictions", parts)
            for target in TARGETS:
                kinds = ("scored", "prediction_missing", "truth_missing")
                _check_sum(model, counts, "matched", [f"{target}_{kind}" for kind in kinds])

    def check_emotions(self, confusion: pa.Table) -> None:
        """Refuse emotions that go by other names in the predictions than in the truth.

        Args:
            confusion: CONFUSION_ROWS.

        Raises:
            RunError: a model and the truth have no emotion in common.
        """
        emotions: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
        for row in confusion.to_pylist():
            model = (row["model_version"], row["condition"])
            truth, predicted = emotions.setdefault(model, (set(), set()))
            truth.add(row["truth"])
            predicted.add(row["prediction"])
        for model, (truth, predicted) in emotions.items():
            if not truth & predicted:
                raise RunError(
                    f"{_describe(model)} predicts {_some(predicted)}, but the truth says "
                    f"{_some(truth)}: no emotion in common; name them alike"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as it stands in audit.json."""
        return {
            "num_metadata": self.overall["metadata"],
            "num_predictions": self.overall["prediction_rows_read"],
            "models": [
                {
                    "model_version": version,
                    "condition": condition,
                    **counts,
                    "unmatched_metadata": self.overall["metadata"] - counts["matched"],
                    **self._order_of((version, condition)),
                }
                for (version, condition), counts in self.by_model.items()
            ],
        }

    def _order_of(self, model: tuple[str, str]) -> dict[str, str]:
        order = self.likely_orders.get(model)
        return {} if order is None else {LIKELY_ORDER: ",".join(order)}

    def notes(self) -> list[str]:
        """Say in words what a reader of the statistics has to know of the join."""
        notes = []
        for model, counts in self.by_model.items():
            name = _describe(model)
            if counts["duplicate_predictions"]:
                notes.append(
                    f"{name}: {counts['duplicate_predictions']} predictions stand twice and count "
                    f"once ({counts['conflicting_duplicates']} of them say something else)"
                )
            if counts["unmatched_predictions"]:
                notes.append(
                    f"{name}: {counts['unmatched_predictions']} predictions are not in the metadata"
                )
            if counts["matched_without_speaker"]:
                notes.append(
                    f"{name}: {counts['matched_without_speaker']} segments have no speaker_id and "
                    f"count as one speaker, {MISSING}"
                )
            if counts.get(TRAINING_SPEAKERS):
                notes.append(
                    f"{name}: {counts[TRAINING_SEGMENTS]} segments are of "
                    f"{counts[TRAINING_SPEAKERS]} speakers that the training has too: how right it "
                    "is on them does not show how right it is on others"
                )
            if model in self.likely_orders:
                notes.append(f"{name}: {_describe_order(self.likely_orders[model])}")
        return notes


def _check_sum(model: tuple[str, str], counts: Counts, whole: str, parts: Sequence[str]) -> None:
    total = sum(counts[part] for part in parts)
    if counts[whole] != total:
        raise RunError(
            f"the join of {_describe(model)} does not add up: {whole} {counts[whole]}, but "
            f"{' + '.join(parts)} {total}"
        )


def _describe(model: tuple[str, str]) -> str:
    return f"model {model[0]}, {model[1]}"


def _describe_order(order: tuple[str, ...]) -> str:
    moved = [
        f"{said} fits the truth of {truth}"
        for truth, said in zip(DIMENSIONS, order, strict=True)
        if truth != said
    ]
    return f"its dimensions seem to stand in another order: its {', its '.join(moved)} better"


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:8])
