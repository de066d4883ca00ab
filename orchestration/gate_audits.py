"""Two audits as a gate reads them: opened, and shown to be of the same draws and segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from orchestration.found_runs import file_sha256
from orchestration.gate_decision import Side
from pipelines.audit_config import AUDIT_FILE, GATE_TABLES, REPLICATES_FILE, SKETCHES_FILE
from ser_model import storage
from ser_model.metrics.moments import Floats
from ser_model.metrics.segment_sketch import SegmentSketch
from ser_model.schema import RunError

MAX_DIFFERING_SHARE = 0.01
"""Of the segments: where only one model scored more than this, the audits are not compared. A model
that rejects what it finds hard looks better for it; up to here the decision's notes count them."""

_SAME_OPTIONS = {
    "truth_range": "--truth-range",
    "slices": "--slice",
    "strata": "--stratum",
    "min_segments": "--min-segments",
    "min_speakers": "--min-speakers",
    "cross_corpus": "--cross-corpus",
    "num_partitions": "version of serval",
    "schema_version": "version of serval",
}
"""Entries of `configuration` in audit.json that decide what a number is of, and their options."""

Place = tuple[str, str, str, str, str]
"""condition, slice_by, slice, target, metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A row of replicates.parquet: a metric on a slice, or on the rest of it.

    Attributes:
        values: [B1] estimate and replicates; NaN where there is no value.
        effective_speakers: fewer than speakers where some have most segments.
        num_compared_speakers: speakers in any of the slices by the same columns.
        num_segments: of the slice.
        num_speakers: of the slice.
        reason: why there is no value.
    """

    values: Floats
    effective_speakers: float
    num_compared_speakers: int
    num_segments: int
    num_speakers: int
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAudit:
    """An audit of one model.

    Attributes:
        side: who it is of.
        audit: content of audit.json.
        slices: what was kept of slices.
        rests: what was kept of the rests of slices.
        sketches: which segments were scored, by condition and target.
    """

    side: Side
    audit: Mapping[str, Any]
    slices: Mapping[Place, Kept]
    rests: Mapping[Place, Kept]
    sketches: Mapping[tuple[str, str], SegmentSketch]


def open_audit(folder: str) -> OpenAudit:
    """Open an audit.

    Raises:
        RunError: it is absent, damaged or of an earlier version, its tables are not those that it
            was written with, or it is of several models.
    """
    audit = _read_audit(folder)
    for table in GATE_TABLES:
        uri = storage.join(folder, table)
        if file_sha256(uri) != audit["tables_sha256"].get(table):
            raise RunError(f"{uri} is not the one that the audit wrote; audit anew")
    versions = sorted({counts["model_version"] for counts in audit["ledger"]["models"]})
    if len(versions) > 1:
        raise RunError(
            f"{folder} is of the models {', '.join(versions)}; a gate compares one with one: "
            "audit each into a folder of its own"
        )
    rows = storage.read_table(storage.join(folder, REPLICATES_FILE))
    sketches = storage.read_table(storage.join(folder, SKETCHES_FILE)).to_pylist()
    kept = _kept(rows)
    return OpenAudit(
        side=_side(folder, audit, versions[0]),
        audit=audit,
        slices={place: one for (place, is_rest), one in kept.items() if not is_rest},
        rests={place: one for (place, is_rest), one in kept.items() if is_rest},
        sketches={
            (row["condition"], row["target"]): SegmentSketch(
                num_segments=row["num_segments"],
                fingerprint=row["fingerprint"],
                smallest=np.array(row["smallest"], dtype=np.uint64),
            )
            for row in sketches
        },
    )


def check_comparable(candidate: OpenAudit, champion: OpenAudit) -> list[str]:
    """Refuse audits whose replicates are not of the same draws; return notes.

    Raises:
        RunError: the metadata, seed, number of replicates or what decides the slices differ.
    """
    of_candidate, of_champion = _facts(candidate.audit), _facts(champion.audit)
    for name, (value, remedy) in of_candidate.items():
        other = of_champion[name][0]
        if value != other:
            raise RunError(
                f"{candidate.side.audit} and {champion.side.audit} cannot be compared: {name} is "
                f"{_short(value)} in the one and {_short(other)} in the other; audit both with "
                f"{remedy}"
            )
    versions = (candidate.audit.get("code_version"), champion.audit.get("code_version"))
    if versions[0] == versions[1]:
        return []
    return [
        f"the audits were made by different versions of serval, {versions[0]} and {versions[1]}"
    ]


def check_segments(
    candidate: OpenAudit, champion: OpenAudit, condition: str, target: str
) -> str | None:
    """Return a note where few segments were scored by one model alone; None where none were.

    Raises:
        RunError: they are more than MAX_DIFFERING_SHARE.
    """
    sides = [one.sketches.get((condition, target)) for one in (candidate, champion)]
    mine, theirs = sides
    if mine is None or theirs is None:
        who = candidate if mine is None else champion
        raise RunError(
            f"{who.side.audit} has no scored {target} under {condition}, which the other audit "
            "has; score and audit it, or give a --config that does not ask for it"
        )
    num_differing = mine.num_differing(theirs)
    share = num_differing / theirs.num_segments
    found = (
        f"{target}, {condition}: {num_differing} segments were scored by one model alone "
        f"(candidate {mine.num_segments}, champion {theirs.num_segments} segments)"
    )
    if share > MAX_DIFFERING_SHARE:
        raise RunError(
            f"{found}, more than {MAX_DIFFERING_SHARE:.0%}: they cannot be compared; serval export "
            "RUN FILE --rejections says why segments are missing; score both models on the same"
        )
    return f"{found}; they are compared all the same" if num_differing else None


def _read_audit(folder: str) -> Mapping[str, Any]:
    uri = storage.join(folder, AUDIT_FILE)
    try:
        audit = storage.read_json(uri)
    except FileNotFoundError as error:
        raise RunError(f"{folder} is no audit: {AUDIT_FILE} is not there") from error
    except ValueError as error:
        raise RunError(f"{uri} is damaged: {error}") from error
    if "tables_sha256" not in audit or "metadata" not in audit:
        raise RunError(
            f"{folder} has no {REPLICATES_FILE}, or does not say of which metadata it is: it was "
            "not made by this version of serval audit; audit the run anew into another folder"
        )
    return audit


def _facts(audit: Mapping[str, Any]) -> dict[str, tuple[object, str]]:
    """What must be the same in both audits, and how to make it so."""
    configuration = audit["configuration"]
    return {
        "the hash of the metadata": (audit["metadata"]["sha256"], "the same --metadata"),
        "seed": (audit["seed"], "the same --seed"),
        "num_replicates": (audit["num_replicates"], "the same --replicates"),
        **{
            name: (_in_any_order(configuration.get(name)), f"the same {option}")
            for name, option in _SAME_OPTIONS.items()
        },
    }


def _in_any_order(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


def _short(value: object) -> str:
    return str(value)[:40]


def _side(folder: str, audit: Mapping[str, Any], model_version: str) -> Side:
    """Say whose audit it is; a run knows its weights, a file of another tool does not."""
    identities = [run.get("identity") or {} for run in audit.get("runs", [])]
    known: dict[str, str | None] = {}
    for name in ("model_uri", "weights_sha256"):
        values = {identity.get(name) for identity in identities}
        known[name] = values.pop() if len(values) == 1 else None
    return Side(
        audit=folder,
        inputs_sha256=audit.get("inputs_sha256", ""),
        model_version=model_version,
        **known,
    )


def _kept(rows: pa.Table) -> dict[tuple[Place, bool], Kept]:
    lists = rows.column("replicates").combine_chunks()
    replicates = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    by_row = replicates.reshape(rows.num_rows, -1) if rows.num_rows else replicates
    names = [field.name for field in dataclasses.fields(Kept) if field.name != "values"]
    found = {}
    for number, row in enumerate(rows.drop_columns(["replicates"]).to_pylist()):
        place = (row["condition"], row["slice_by"], row["slice"], row["target"], row["metric"])
        value = np.nan if row["value"] is None else row["value"]
        found[place, row["is_rest"]] = Kept(
            values=np.concatenate([[value], by_row[number]]),
            **{name: row[name] for name in names},
        )
    return found
