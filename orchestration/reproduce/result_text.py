"""A result as text for people: on the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.reproduce.result import ResultRow, TableResult

HEADER = (
    *("system", "where", "metric", "published", "ours", "difference", "95 % interval"),
    "note",
)
_NUMBERS = slice(3, 7)


def as_text(result: TableResult) -> str:
    """Return the table with aligned columns, and what may differ."""
    rows = [HEADER, *map(_cells, result.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(
        [
            f"{result.table}: {result.title}",
            result.source,
            f"The paper: {result.shows}",
            "",
            *lines,
            "",
            "what may differ:",
            *(f"- {note}" for note in result.may_differ),
            f"written: {result.folder}/result.md, .csv, .json",
        ]
    )


def as_markdown(result: TableResult) -> str:
    """Return the same as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in [HEADER, *map(_cells, result.rows)]]
    rule = ["---"] * len(HEADER)
    rule[_NUMBERS] = ["--:"] * 4
    return "\n".join(
        [
            f"# {result.table}: {result.title}",
            "",
            f"{result.source}. The paper: {result.shows}",
            "",
            lines[0],
            "|" + "|".join(rule) + "|",
            *lines[1:],
            "",
            "What may differ:",
            "",
            *(f"- {note}" for note in result.may_differ),
            "",
        ]
    )


def _cells(row: ResultRow) -> tuple[str, ...]:
    against = f" - {row.against}" if row.against else ""
    interval = "" if row.ci_low is None or row.ci_high is None else _interval(row)
    return (
        row.system + against,
        row.where,
        row.metric + {"percent": " (%)", "one": ""}.get(row.unit, f" ({row.unit})"),
        _value(row, row.published, row.published_deviation, row.published_p_value),
        _value(row, row.ours, row.deviation, row.p_value if _is_of_test(row) else None),
        "" if row.difference is None else f"{row.difference:+.{_decimals(row)}f}",
        interval,
        row.note,
    )


def _is_of_test(row: ResultRow) -> bool:
    """Our p-value stands beside a published one, and beside a mean residual, which is a test."""
    return row.published_p_value is not None or row.metric.startswith("residual_mean")


def _value(
    row: ResultRow, value: float | None, deviation: float | None, p_value: float | None
) -> str:
    decimals = _decimals(row)
    words = [] if value is None else [f"{value:.{decimals}f}"]
    if deviation is not None:
        words.append(f"± {deviation:.{decimals}f}")
    if p_value is not None:
        words.append(f"p = {p_value:.3f}")
    return " ".join(words)


def _interval(row: ResultRow) -> str:
    decimals = _decimals(row)
    return f"[{row.ci_low:.{decimals}f}, {row.ci_high:.{decimals}f}]"


def _decimals(row: ResultRow) -> int:
    """Percent with one, amounts (seconds, steps, counts) as they are large or small, else three."""
    numbers: Sequence[float | None] = (row.ours, row.published)
    if row.unit == "percent":
        return 1
    return 0 if any(number is not None and abs(number) >= 10 for number in numbers) else 3
