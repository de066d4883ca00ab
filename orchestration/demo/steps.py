"""A step of the demo is done once: its record says with which inputs, and what came out.

A record is written, in one piece, when the step has finished. A step is done where its record has
the same inputs and what it made is still there; where something ended it before, the step runs
again, and what it calls resumes by itself. Looking up records loads nothing heavy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ser_model import storage

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the demo.

    Attributes:
        name: of its record.
        doing: what is shown while it runs.
        output: file that it writes last, below the demo's folder.
        work: does it; returns what the record keeps of the outcome.
    """

    name: str
    doing: str
    output: str
    work: Callable[[], Mapping[str, object]]


def run_steps(
    folder: str,
    steps: list[Step],
    identity: Mapping[str, object],
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Record]:
    """Run the steps that are not done, in order, and return the outcome of each.

    Args:
        folder: the demo's folder.
        steps: each takes what those before it made as its input.
        identity: what decides the outcome of all of them.
        say: told in a line of each step as it begins or is found done.
    """
    outcomes: dict[str, Record] = {}
    inputs_sha256 = _sha256(identity)
    for number, step in enumerate(steps, start=1):
        place = f"step {number} of {len(steps)}: {step.doing}"
        record_uri = storage.join(folder, "steps", f"{number}-{step.name}.json")
        output_uri = storage.join(folder, step.output)
        record = storage.read_json(record_uri) if storage.exists(record_uri) else {}
        is_done = record.get("inputs_sha256") == inputs_sha256 and storage.exists(output_uri)
        if is_done:
            say(f"{place}: done before")
        else:
            say(place)
            record = {"inputs_sha256": inputs_sha256, "outcome": dict(step.work())}
            storage.write_json(record_uri, record)
        outcomes[step.name] = record["outcome"]
        inputs_sha256 = _sha256(record)
    return outcomes


def _sha256(content: Mapping[str, object]) -> str:
    return hashlib.sha256(storage.to_json_bytes(content)).hexdigest()
