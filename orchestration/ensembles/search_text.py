"""What a search for an ensemble found, in a screen of text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from orchestration.ensembles.choice import MemberCost, SearchResult
from orchestration.ensembles.search import Figure, Measured, SplitSearch

HEADINGS = {
    "unweighted_average_recall": "UAR",
    "accuracy": "WAR",
    "concordance_cc": "mean CCC",
}
"""What the field calls the metrics; those of single dimensions go by the dimension's name."""

MAX_ROWS = 10
"""Combinations that are shown of each size; the JSON holds all."""

_WIDTH = 21


def search_text(result: SearchResult) -> str:
    """Show the best combinations, the members alone, and what they cost."""
    lines = []
    for search in result.searches.values():
        lines += [
            f"{result.vote} vote: {result.num_combinations} combinations of "
            f"{len(result.members)} members on {search.num_segments} {search.split} segments of "
            f"{search.num_speakers} speakers (95 % intervals over speakers)",
            *_table(result, search),
            *_verdict(result, search),
            "",
        ]
    lines += _costs(result)
    best = result.searches[result.split].combinations[0]
    runs = " ".join(result.runs[number] for number in best.members)
    if result.split == "test":
        lines += ["", _warning(result)]
    lines.append(f"next: serval ensemble vote {runs} --vote {result.vote} --output RUN")
    return "\n".join(lines)


def search_data(result: SearchResult) -> dict[str, object]:
    """Return the same as JSON, with all combinations; null is a figure that has no value."""
    return {
        "vote": result.vote,
        "split": result.split,
        "num_combinations": result.num_combinations,
        "warning": _warning(result) if result.split == "test" else None,
        "members": [
            {"name": name, "run": run, **dataclasses.asdict(cost)}
            for name, run, cost in zip(result.members, result.runs, result.costs, strict=True)
        ],
        "splits": {
            name: {
                "num_segments": search.num_segments,
                "num_speakers": search.num_speakers,
                "corrected": _known(search.corrected),
                "corrected_best_member": _known(search.corrected_member),
                "combinations": [_row_data(result, row) for row in search.combinations],
                "members": [_row_data(result, row) for row in search.members],
            }
            for name, search in result.searches.items()
        },
    }


def _row_data(result: SearchResult, row: Measured) -> dict[str, object]:
    return {
        "members": [result.members[number] for number in row.members],
        **{
            metric: {name: _known(value) for name, value in dataclasses.asdict(figure).items()}
            for metric, figure in row.figures.items()
        },
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _table(result: SearchResult, search: SplitSearch) -> list[str]:
    sizes = sorted({len(row.members) for row in search.combinations})
    rows: list[Measured] = []
    for size in sizes:
        rows += [row for row in search.combinations if len(row.members) == size][:MAX_ROWS]
    rows.sort(key=search.combinations.index)
    names = [_name(result, row) for row in rows]
    best_member = f"best member: {_name(result, search.members[0])}"
    width = max(map(len, [*names, best_member]))
    headings = [HEADINGS.get(metric, metric) for metric in rows[0].figures]
    lines = [
        f"  {'members':<{width}}  " + "  ".join(f"{heading:<{_WIDTH}}" for heading in headings)
    ]
    for name, row in zip([*names, best_member], [*rows, search.members[0]], strict=True):
        lines.append(f"  {name:<{width}}  " + "  ".join(map(_shown, row.figures.values())))
    if len(rows) < len(search.combinations):
        lines.append(f"  and {len(search.combinations) - len(rows)} more (--json shows all)")
    return [line.rstrip() for line in lines]


def _verdict(result: SearchResult, search: SplitSearch) -> list[str]:
    """Say what the best is worth, as it stands and corrected."""
    best, member = search.combinations[0], search.members[0]
    metric = HEADINGS[next(iter(best.figures))]
    return [
        f"  the best of {result.num_combinations} has {metric} {_number(best.value)} on the "
        f"segments that it was chosen on; corrected for that: {_number(search.corrected)}",
        f"  the best of {len(result.members)} members has {_number(member.value)}; corrected: "
        f"{_number(search.corrected_member)}",
    ]


def _warning(result: SearchResult) -> str:
    search = result.searches["test"]
    metric = HEADINGS[next(iter(search.combinations[0].figures))]
    return (
        f"!!! CHOSEN ON TEST: {metric} {_number(search.combinations[0].value)} is the best of "
        f"{result.num_combinations} on these very segments, and no estimate for others. Report "
        f"the corrected {_number(search.corrected)}, or choose with --split dev !!!"
    )


def _costs(result: SearchResult) -> list[str]:
    width = max(map(len, (*result.members, "member")))
    lines = [f"  {'member':<{width}}  {'model time':>10}  {'audio-s/s':>9}  {'on disk':>9}"]
    for name, cost in zip(result.members, result.costs, strict=True):
        lines.append(f"  {name:<{width}}  {'  '.join(_cost(cost))}")
    return lines


def _cost(cost: MemberCost) -> Sequence[str]:
    seconds = "-" if cost.model_s is None else f"{cost.model_s:.1f} s"
    speed = "-" if cost.audio_s_per_s is None else f"{cost.audio_s_per_s:.1f}"
    size = "-" if cost.weights_bytes is None else f"{cost.weights_bytes / 1e6:.1f} MB"
    return f"{seconds:>10}", f"{speed:>9}", f"{size:>9}"


def _name(result: SearchResult, row: Measured) -> str:
    return " + ".join(result.members[number] for number in row.members)


def _shown(figure: Figure) -> str:
    interval = f"[{_number(figure.ci_low)}, {_number(figure.ci_high)}]"
    return f"{_number(figure.value)} {interval}".ljust(_WIDTH)


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "none"
