"""Where the numbers come from: what audit.json says, and how the report shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.report import wording
from orchestration.report.audit_folder import AuditFolder
from orchestration.report.links import Link
from orchestration.report.verdict import Light, Status
from ser_model import storage

Json = Any
"""What `json` reads: mappings, lists, strings, numbers, booleans and None."""

MAX_FACTS = 200
MAX_FACT_LENGTH = 300
MAX_NOTES = 20
MAX_LEDGER_COLUMNS = 6

_LEDGER_WORDS = {
    "predictions": "predictions read",
    "duplicate_predictions": "stand twice and count once",
    "conflicting_duplicates": "of these, say something else",
    "unmatched_predictions": "are not in the metadata",
    "matched": "matched",
    "matched_without_speaker": "of these, have no speaker",
    "training_speakers": "speakers are in the training too",
    "matched_of_training_speakers": "segments are of speakers in the training",
    "unmatched_metadata": "rows of metadata without a prediction",
}
_TARGET_WORDS = {
    "scored": "scored",
    "prediction_missing": "without a prediction",
    "truth_missing": "without a truth",
    "prediction_out_of_range": "predicted outside 0 to 1, scored as they are",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The join ledger as a table.

    Attributes:
        models: model and condition of each column, MAX_LEDGER_COLUMNS at most.
        num_models: how many there are.
        rows: what is counted, and the count of each column (None where it has none).
    """

    models: tuple[str, ...]
    num_models: int
    rows: tuple[tuple[str, tuple[int | None, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What audit.json says.

    Attributes:
        ledger: the join ledger.
        notes: what a reader has to know of the join, MAX_NOTES at most.
        facts: everything else, as (name, value), MAX_FACTS at most.
        num_facts: how many there are.
        is_synthetic: whether the corpus says that its speech is synthetic.
        seed: of the bootstrap, or None.
        num_replicates: of the bootstrap, or None.
        by_permutation: whether gaps are held against those of shuffled groups.
        is_pseudonymised: whether speakers stand under pseudonyms.
        metadata_name: name of the metadata's file, without its folder.
        metadata_sha256: its hash, or None.
        statistics_sha256: hash of statistics.parquet.
        code_version: of Serval that made the audit, or None.
        links: to what belongs to the audit elsewhere.
    """

    ledger: Ledger
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    num_facts: int
    is_synthetic: bool
    seed: int | None
    num_replicates: int | None
    by_permutation: bool
    is_pseudonymised: bool
    metadata_name: str
    metadata_sha256: str | None
    statistics_sha256: str
    code_version: str | None
    links: tuple[Link, ...]


def read_provenance(folder: AuditFolder, links: Iterable[Link] = ()) -> Provenance:
    """Pick what the report shows of audit.json."""
    audit = folder.audit
    metadata = audit.get("metadata", {})
    elsewhere = ("ledger", "notes", "systems")
    facts = [*flatten({name: part for name, part in audit.items() if name not in elsewhere})]
    facts.append(("statistics.parquet sha256", folder.statistics_sha256))
    return Provenance(
        ledger=_ledger(ledger_counts(folder), uris=model_names(folder)),
        notes=tuple(
            wording.plain(str(note)[:MAX_FACT_LENGTH])
            for note in audit.get("notes", [])[:MAX_NOTES]
        ),
        facts=tuple(facts[:MAX_FACTS]),
        num_facts=len(facts),
        is_synthetic=_is_said(audit, "synthetic"),
        seed=audit.get("seed"),
        num_replicates=audit.get("num_replicates"),
        by_permutation=audit.get("configuration", {}).get("margins_from") == "permutation",
        is_pseudonymised=folder.is_pseudonymised,
        metadata_name=storage.name(str(metadata.get("uri", "corpus"))),
        metadata_sha256=metadata.get("sha256"),
        statistics_sha256=folder.statistics_sha256,
        code_version=audit.get("code_version"),
        links=tuple(links),
    )


def ledger_counts(folder: AuditFolder) -> dict[tuple[str, str], Mapping[str, int]]:
    """Return the counts of the join by model version and condition."""
    models: Sequence[Mapping[str, Any]] = folder.audit.get("ledger", {}).get("models", ())
    return {
        (model["model_version"], model["condition"]): {
            name: count for name, count in model.items() if isinstance(count, int)
        }
        for model in models
    }


def model_names(folder: AuditFolder) -> dict[str, str]:
    """Return the URI of each model version, where the audited runs name exactly one."""
    uris: dict[str, set[str]] = {}
    for run in folder.audit.get("runs", ()):
        identity = run.get("identity", {})
        if "model_version" in identity and "model_uri" in identity:
            uris.setdefault(identity["model_version"], set()).add(identity["model_uri"])
    return {version: found.pop() for version, found in uris.items() if len(found) == 1}


def data_light(counts: Mapping[str, int] | None) -> Light:
    """Say whether every prediction met its truth; what no model predicts is not missed.

    Segments of speakers that the training had are a flaw of the data too: what is right on them
    may be remembered.
    """
    question = "Did every prediction meet its truth?"
    if not counts:
        return Light(question=question, status=Status.NOT_JUDGED, answer="No join ledger")
    targets = [target for target in wording.TARGETS if counts.get(f"{target}_scored")]
    losses = {
        _LEDGER_WORDS[name]: counts.get(name, 0)
        for name in (
            "duplicate_predictions",
            "unmatched_predictions",
            "matched_of_training_speakers",
        )
    } | {
        f"{_TARGET_WORDS[kind]} of {target}": counts.get(f"{target}_{kind}", 0)
        for target in targets
        for kind in ("prediction_missing", "truth_missing")
    }
    lost = [f"{wording.count(num)} {what}" for what, num in losses.items() if num]
    matched = f"{wording.count(counts['matched'])} of {wording.count(counts['predictions'])}"
    return Light(
        question=question,
        status=Status.INCONCLUSIVE if lost else Status.PASS,
        answer="; ".join([f"{matched} predictions matched", *lost]),
    )


def flatten(content: Json, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Return the leaves of nested JSON as (path, text).

    >>> list(flatten({"runs": [{"seed": 0}], "slices": ["sex", "accent"]}))
    [('runs 1 seed', '0'), ('slices', 'sex, accent')]
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from flatten(value, f"{prefix} {key}".strip())
    elif isinstance(content, list) and any(isinstance(item, Mapping) for item in content):
        for index, item in enumerate(content, start=1):
            yield from flatten(item, f"{prefix} {index}".strip())
    else:
        yield (
            wording.plain(prefix[:MAX_FACT_LENGTH]),
            wording.plain(_text(content)[:MAX_FACT_LENGTH]),
        )


def _ledger(
    counts: Mapping[tuple[str, str], Mapping[str, int]], *, uris: Mapping[str, str]
) -> Ledger:
    shown = list(counts.items())[:MAX_LEDGER_COLUMNS]
    columns = [of_model for _, of_model in shown]
    words = dict(_LEDGER_WORDS)
    for target in wording.TARGETS:
        if any(of_model.get(f"{target}_scored") for of_model in columns):
            words |= {f"{target}_{kind}": f"{target}: {w}" for kind, w in _TARGET_WORDS.items()}
    names = [name for name in words if any(name in of_model for of_model in columns)]
    return Ledger(
        models=tuple(wording.title(uris.get(v, v), condition) for (v, condition), _ in shown),
        num_models=len(counts),
        rows=tuple((words[name], tuple(column.get(name) for column in columns)) for name in names),
    )


def _text(content: Json) -> str:
    if isinstance(content, list):
        return ", ".join(_text(item) for item in content)
    if content is None:
        return wording.DASH
    if isinstance(content, bool):
        return "yes" if content else "no"
    return str(content)


def _is_said(content: Json, key: str) -> bool:
    if isinstance(content, Mapping):
        return content.get(key) is True or any(_is_said(part, key) for part in content.values())
    return isinstance(content, list) and any(_is_said(part, key) for part in content)
