"""What a night is about, settled when it begins: so that a re-run comes to the same decision.

A night that promotes moves the alias `champion`, and others may register models meanwhile. What a
killed night reads again is therefore what it wrote down, and not what the registry says by then.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestration.nights.config import NAME, NightlyConfig
from orchestration.nights.record import NIGHT_FILE, NIGHTS_FOLDER, night_folder
from orchestration.promotion import CHAMPION
from orchestration.registry import find_alias
from ser_model import storage
from ser_model.models.configuration import build
from ser_model.schema import ConfigError, RunError

PLAN_FILE = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPlan:
    """Who is evaluated in a night, and what it is compared with.

    Attributes:
        name: of the night.
        started: UTC, ISO 8601.
        candidate: URI pinned to a version; None where nobody wants to become champion.
        champion: likewise; None where there is none yet.
        before: names of the complete nights that drift looks back on, oldest first.
    """

    name: str
    started: str
    candidate: str | None
    champion: str | None
    before: tuple[str, ...]


def night_name(text: str | None) -> str:
    """Return the name of a night: of the day, in UTC, or what --night said.

    >>> night_name("2026-11-21")
    '2026-11-21'

    Raises:
        ConfigError: it cannot be the name of a folder.
    """
    if text is None:
        return datetime.now(UTC).date().isoformat()
    if not NAME.fullmatch(text):
        raise ConfigError(f"--night {text!r} must be of 64 letters, digits and . _ - at most")
    return text


def settle(config: NightlyConfig, name: str) -> NightPlan:
    """Return the plan of a night, as it was written down when it began first.

    Raises:
        ModelError: there is no such model.
        ConfigError: it has neither a candidate nor a champion.
        RunError: the plan that is there is damaged.
    """
    uri = storage.join(night_folder(config.output, name), PLAN_FILE)
    try:
        return build(NightPlan, storage.read_json(uri))
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise RunError(f"{uri} is damaged: {error}") from error
    plan = propose(config, name)
    storage.write_json(uri, dataclasses.asdict(plan))
    return plan


def propose(config: NightlyConfig, name: str) -> NightPlan:
    """Return the plan of a night that would begin now."""
    champion = find_alias(config.model, CHAMPION)
    candidate: str | None
    if config.candidate.isdecimal():
        candidate = f"models:/{config.model}/{config.candidate}"
    else:
        found = find_alias(config.model, config.candidate)
        candidate = None if found is None else found.uri
    if candidate is None and champion is None:
        raise ConfigError(
            f"the model {config.model} has neither the alias {config.candidate} nor {CHAMPION}: "
            f"serval models promote models:/{config.model}/1 --alias {config.candidate}"
        )
    in_use = None if champion is None else champion.uri
    return NightPlan(
        name=name,
        started=now(),
        candidate=None if candidate == in_use else candidate,
        champion=in_use,
        before=_complete_nights(config.output, name)[-config.drift.nights :],
    )


def unfinished_nights(output: str, name: str) -> list[str]:
    """Return the nights before `name` that began and never ended."""
    folder = storage.join(output, NIGHTS_FOLDER)
    complete = set(_complete_nights(output, name))
    return [other for other in storage.list_names(folder) if other < name and other not in complete]


def now() -> str:
    """Return the time as night.json has it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _complete_nights(output: str, name: str) -> tuple[str, ...]:
    folder = storage.join(output, NIGHTS_FOLDER)
    return tuple(
        other
        for other in storage.list_names(folder)
        if other < name and storage.exists(storage.join(night_folder(output, other), NIGHT_FILE))
    )
