"""What a command says when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The end of a command.

    Attributes:
        text: a few lines for people, printed on stdout.
        data: the same as one JSON object, printed instead with `--json`.
        exit_code: 0 done; 1 done, and the answer is no.
    """

    text: str
    data: Mapping[str, object] = field(default_factory=dict)
    exit_code: int = 0
