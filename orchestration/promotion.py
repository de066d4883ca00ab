"""Promotes versions of models: a champion is replaced by what a gate let through, or on the record.

Whoever takes the champion's place needs a decision of `serval gate` that is about these weights,
against those of the champion of the day; or a reason why none is needed, which stays with the
version. A decision is a file like any other and not signed: this keeps accidents out, not malice.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from orchestration.gate_decision import read_decision
from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.registry import (
    PROMOTION_TAG,
    REGISTERED_URI,
    RegisteredVersion,
    find_alias,
    set_alias,
    tag_version,
)
from ser_model.schema import ConfigError, ModelError

CHAMPION = "champion"

MAX_REASON_LENGTH = 1000


def promote(
    uri: str, alias: str, *, gates: Sequence[str] = (), override: str | None = None
) -> ResolvedModel:
    """Give an alias to the registered model that `uri` means.

    Args:
        uri: of a registered model.
        alias: champion needs a reason why, unless nobody is.
        gates: decisions of `serval gate` that accept these weights, one a corpus.
        override: why no gate is needed.

    Raises:
        ModelError: the URI means no registered model.
        ConfigError: a gate does not let this model through, or nothing says why it should be
            champion.
    """
    if override is not None and not 0 < len(override.strip()) <= MAX_REASON_LENGTH:
        raise ConfigError(f"--override needs a reason, of {MAX_REASON_LENGTH} letters at most")
    if alias != CHAMPION and (gates or override is not None):
        raise ConfigError(f"--gate and --override are for --alias {CHAMPION}, not {alias}")
    resolved = resolve_model(uri)
    match = REGISTERED_URI.fullmatch(resolved.uri)
    if match is None:
        raise ModelError(
            f"{uri} is not in the registry; put it there with `serval models import {uri} --name N`"
        )
    name, version = match["name"], match["version"]
    if alias == CHAMPION:
        current = find_alias(name, CHAMPION)
        if current is not None and current.version == version:
            return resolved
        why = _why(resolved, current, gates, override)
        replaced = None if current is None else current.uri
        record = {**why, "replaced": replaced, "who": _who(), "when": _now()}
        tag_version(name, version, PROMOTION_TAG, json.dumps(record, sort_keys=True))
    set_alias(name, alias, version)
    return resolved


def _why(
    resolved: ResolvedModel,
    current: RegisteredVersion | None,
    gates: Sequence[str],
    override: str | None,
) -> dict[str, object]:
    if override is not None:
        return {"how": "override", "reason": override.strip()}
    if gates:
        for gate in gates:
            _check_decision(resolved, current, gate)
        return {"how": "gate", "decisions": list(gates)}
    if current is None:
        return {"how": "first"}
    raise ConfigError(
        f"{current.uri} is champion: whoever replaces it needs --gate DECISION.json, which "
        "serval gate writes, or --override REASON"
    )


def _check_decision(resolved: ResolvedModel, current: RegisteredVersion | None, gate: str) -> None:
    decision = read_decision(gate)
    if not decision["accepted"]:
        raise ConfigError(f"{gate} refuses its candidate ({decision.get('outcome')})")
    about = decision["candidate"]["weights_sha256"]
    if about != resolved.weights_sha256:
        raise ConfigError(
            f"{gate} is about other weights ({_short(about)}) than those of {resolved.uri} "
            f"({_short(resolved.weights_sha256)}); score, audit and gate this version"
        )
    against = decision["champion"]["weights_sha256"]
    if current is not None and against != current.weights_sha256:
        raise ConfigError(
            f"{gate} is against other weights ({_short(against)}) than those of the champion "
            f"{current.uri} ({_short(current.weights_sha256)}); gate against its audit"
        )


def _short(sha256: object) -> str:
    return "unknown" if sha256 is None else str(sha256)[:12]


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
