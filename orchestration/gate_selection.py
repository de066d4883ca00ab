"""What a gate compares: the places in an audit that its rules select."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestration.gate_audits import Kept, OpenAudit, Place
from orchestration.gate_config import GapRule, GateConfig, StatisticRule
from pipelines.transforms.tables import is_missing_slice
from ser_model.schema import ConfigError

Rule = StatisticRule | GapRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A comparison that a rule asks for.

    Attributes:
        rule: that asks for it.
        place: of the slice, or of the first slice of a gap.
        name: of the slice or gap.
        other: of a gap, the place of the second slice, or of the slice whose rest it is.
        is_rest: whether the second is the rest.
    """

    rule: Rule
    place: Place
    name: str
    other: Place | None = None
    is_rest: bool = False

    @property
    def key(self) -> tuple[Place, str]:
        """What tells it from others of the same kind."""
        return self.place, self.name

    def of(self, audit: OpenAudit) -> tuple[Kept | None, Kept | None]:
        """Return what an audit kept of it; None of what it did not keep."""
        first = audit.slices.get(self.place)
        if self.other is None:
            return first, None
        return first, (audit.rests if self.is_rest else audit.slices).get(self.other)


def value_of(asked: Asked, audit: OpenAudit) -> float | None:
    """Return the value of a statistic or gap; None where the audit has none."""
    first, second = asked.of(audit)
    if first is None or (asked.other is not None and second is None):
        return None
    value = float(first.values[0] - (0.0 if second is None else second.values[0]))
    return value if math.isfinite(value) else None


def select(config: GateConfig, champion: OpenAudit, *, is_default: bool = False) -> Iterator[Asked]:
    """Yield what the rules select of the champion's audit, each once.

    Args:
        config: the rules.
        champion: its audit.
        is_default: whether rules may select nothing.

    Raises:
        ConfigError: a rule selects nothing, or what another one has selected.
    """
    seen: set[tuple[Place, str]] = set()
    rules: list[tuple[str, Rule, Callable[..., Iterator[Asked]]]] = [
        *((f"statistics[{n}]", rule, _statistics) for n, rule in enumerate(config.statistics)),
        *((f"gaps[{n}]", rule, _gaps) for n, rule in enumerate(config.gaps)),
    ]
    for name, rule, find in rules:
        selected = list(find(rule, champion))
        if not selected and not is_default:
            raise ConfigError(
                f"{name} of the configuration asks for {_wanted(rule)}, which {champion.side.audit}"
                f" keeps no replicates of; it has {_available(rule, champion)}"
            )
        for one in selected:
            if one.key in seen:
                raise ConfigError(
                    f"{name} of the configuration asks for {describe(one)}, which another entry "
                    "asks for already; name the targets or slices of both"
                )
            seen.add(one.key)
            yield one


def _statistics(rule: StatisticRule, audit: OpenAudit) -> Iterator[Asked]:
    for place in sorted(audit.slices):
        condition, slice_by, name, target, metric = place
        if (condition, slice_by, metric) != (rule.condition, rule.slice_by, rule.metric):
            continue
        if rule.target in (None, target) and rule.slice in ("", name):
            yield Asked(rule=rule, place=place, name=name)


def _gaps(rule: GapRule, audit: OpenAudit) -> Iterator[Asked]:
    """Yield pairs where two slices are compared, else each slice with the rest."""
    strata = audit.audit["configuration"]["strata"]
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for condition, slice_by, name, target, metric in sorted(audit.slices):
        if slice_by and slice_by not in strata and not is_missing_slice(name):
            groups.setdefault((condition, slice_by, target, metric), []).append(name)
    for (condition, slice_by, target, metric), names in groups.items():
        if (condition, metric) != (rule.condition, rule.metric):
            continue
        if rule.target not in (None, target) or rule.slice_by not in (None, slice_by):
            continue
        places = [(condition, slice_by, name, target, metric) for name in names]
        with_rest = [place for place in places if place in audit.rests]
        pairs = [(place, place, f"{place[2]}-rest") for place in with_rest]
        if not with_rest and len(places) == 2:
            pairs = [(places[0], places[1], "-".join(names))]
        for place, other, gap in pairs:
            if rule.slice in (None, gap):
                yield Asked(rule=rule, place=place, name=gap, other=other, is_rest=bool(with_rest))


def describe(asked: Asked) -> str:
    """Name a comparison in a message."""
    condition, _, _, target, metric = asked.place
    return f"{metric} of {target}, {condition}, {asked.name or 'all segments'}"


def _wanted(rule: Rule) -> str:
    fields = dataclasses.asdict(rule)
    return ", ".join(f"{name} {value!r}" for name, value in fields.items() if value)


def _available(rule: Rule, audit: OpenAudit) -> str:
    """List what there is by condition, columns, slice, target and metric."""
    of_kind = audit.slices
    wanted = dataclasses.asdict(rule)
    names = ("condition", "slice_by", "slice", "target", "metric")
    parts = []
    for number, name in enumerate(names):
        there = sorted({place[number] for place in of_kind})
        if wanted[name] and wanted[name] not in there:
            parts.append(f"{name}: {', '.join(map(repr, there[:8]))}")
    return "; ".join(parts) or "no such combination"
