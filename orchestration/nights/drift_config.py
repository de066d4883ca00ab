"""What of a night is compared with the nights before, and how much of it is an alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

_ENDS = {
    "jensen_shannon_divergence": 1.0,
    "population_stability_index": math.inf,
    "rejected_share": 1.0,
    "new_speakers": 1.0,
    "new_languages": math.inf,
    "missing_metadata": 1.0,
}
"""The largest value of each kind of finding; the smallest is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftConfig:
    """Thresholds: an alarm is what lies above. None of any kind is never an alarm.

    Scores and rejections have to be beyond chance as well (docs/drift.md).

    Attributes:
        nights: how many nights tonight is compared with, at most.
        jensen_shannon_divergence: of a target's distribution, in bits. The default is a PSI of .2
            divided by 8 ln 2, which is what it comes to for small shifts.
        population_stability_index: of a target's distribution; above .1 is by custom called a
            change, above .2 or .25 a large one.
        rejected_share: rise of the share of segments that are rejected.
        new_speakers: share of the speakers that no earlier night had.
        new_languages: how many languages no earlier night had.
        missing_metadata: rise of the share of segments that lack a value, of each column.
    """

    nights: int = 7
    jensen_shannon_divergence: float | None = 0.036
    population_stability_index: float | None = 0.2
    rejected_share: float | None = 0.02
    new_speakers: float | None = None
    new_languages: int | None = 0
    missing_metadata: float | None = 0.05

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.nights < 1:
            raise ValueError(f"nights is {self.nights}; allowed are 1 and more")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "nights" or value is None:
                continue
            end = _ENDS[field.name]
            if not (0 <= value <= end and math.isfinite(value)):
                allowed = "0 and more" if math.isinf(end) else f"0 to {end:g}"
                raise ValueError(f"{field.name} is {value}; allowed are {allowed}, or null")
