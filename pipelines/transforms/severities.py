"""How severe a condition is, by its name: "white-noise-10db" is "white-noise-*db" at 10.

Names say it all, so that predictions of any tool have severities, and no augmentation is loaded to
judge them. Decibels are taken for a signal-to-noise ratio; of what has no harsher end, as a
loudness has none, there is no severity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

HARSHER: dict[str, int] = {"db": -1, "kbps": -1, "pct": 1, "m": 1, "x": 1}
"""Units of severity, and whether more (1) or less (-1) of them is harsher: a signal-to-noise ratio,
a bit rate, a share of what is lost, a distance, a speed."""

_NAME = re.compile(
    r"(?P<before>.*?[-_ ])(?P<minus>minus[-_ ]|-)?(?P<number>\d+(?:\.\d+)?)"
    rf"(?P<after>[-_ ]?(?P<unit>{'|'.join(HARSHER)}))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """Where a condition stands among others of its kind.

    Attributes:
        family: the name with a * in the place of the number.
        number: of the unit that the name ends in.
        rank: larger where it is harsher.
    """

    family: str
    number: float
    rank: float


def severity_of(condition: str) -> Severity | None:
    """Return how severe a condition is; None where its name does not say.

    Example:
        >>> severity_of("white-noise-10db")
        Severity(family='white-noise-*db', number=10.0, rank=-10.0)
        >>> severity_of("babble_minus_5_dB").number, severity_of("fade") is None
        (-5.0, True)
    """
    found = _NAME.fullmatch(condition)
    if found is None:
        return None
    number = float(found["number"]) * (-1.0 if found["minus"] else 1.0)
    rank = number * HARSHER[found["unit"].lower()]
    return Severity(family=f"{found['before']}*{found['after']}", number=number, rank=rank)


def families_of(conditions: Iterable[str]) -> dict[str, list[str]]:
    """Return the conditions of each family from mild to harsh, families of one left out.

    Example:
        >>> families_of(["gaps-10pct", "fade", "gaps-2pct", "music-20db"])
        {'gaps-*pct': ['gaps-2pct', 'gaps-10pct']}
    """
    ranked: dict[str, list[tuple[float, str]]] = {}
    for condition in sorted(set(conditions)):
        severity = severity_of(condition)
        if severity is not None:
            ranked.setdefault(severity.family, []).append((severity.rank, condition))
    return {
        family: [condition for _, condition in sorted(members)]
        for family, members in sorted(ranked.items())
        if len(members) > 1
    }
