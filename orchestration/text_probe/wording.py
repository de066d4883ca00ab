"""What a probe found, in a screen of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.text_probe.statistics import (
    DIFFERENCE,
    METRICS,
    PARTIAL,
    REPORTED,
    SIDES,
    SYNTHETIC,
)
from ser_model.schema import CLEAN

Row = Mapping[str, Any]

SHORT = {"concordance_cc": "CCC", "pearson_cc": "PCC"}


def probe_text_lines(probe: Mapping[str, Any]) -> list[str]:
    """Say what probe.json holds: a table as in figure 4 of Wagner et al. (2023), and its meaning.

    Args:
        probe: the content of probe.json.
    """
    rows = {(r["target"], r["metric"], r["condition"]): r for r in probe["statistics"]}
    voice = probe["voice"]
    lines = [
        f"linguistic probe of {probe['model']['uri']}",
        f"synthetic speech: {voice['synthesiser']} {voice['name']}, {voice['rate_wpm']} words a "
        f"minute, pitch {voice['pitch']}",
        f"{'':<15}{'original':<31}{'synthetic':<31}{'synthetic - original'}",
    ]
    for target in REPORTED:
        for metric in METRICS:
            cells = [_cell(rows[target, metric, condition]) for condition in SIDES]
            gap = _cell(rows[target, f"{metric}_gap", DIFFERENCE])
            lines.append(f"{target:<10} {SHORT[metric]} {cells[0]:<31}{cells[1]:<31}{gap}")
    if ("valence", PARTIAL, CLEAN) in rows:
        cells = [_cell(rows["valence", PARTIAL, condition]) for condition in SIDES]
        lines += [
            "correlation of predicted valence with the sentiment of the words, given the truth",
            f"{'':<15}{cells[0]:<31}{cells[1]}",
            f"  sentiment: {probe['sentiment']['name']}",
        ]
    counts = probe["counts"]
    lines += [_count(side, counts[side], counts["segments"]) for side in SIDES.values()]
    lines += [f"note: {note}" for note in probe["notes"]]
    return [*lines, f"meaning: {probe['meaning']}"]


MOSTLY = 0.5
"""Part of the CCC that the words alone must give, for a model to be said to use mostly them."""


def meaning(statistics: Sequence[Row]) -> str:
    """Return one careful sentence of what the statistics of valence say.

    Args:
        statistics: rows of schema.STATISTICS.
    """
    rows = {(r["metric"], r["condition"]): r for r in statistics if r["target"] == "valence"}
    original = rows["concordance_cc", CLEAN]
    synthetic = rows["concordance_cc", SYNTHETIC]
    gap = rows["concordance_cc_gap", DIFFERENCE]
    if None in (row["ci_low"] for row in (original, synthetic, gap)):
        return (
            "without an interval of valence on both sides nothing can be said of what the model "
            "listens to"
        )
    if original["ci_low"] <= 0:
        return (
            "the model does not clearly predict valence on the original speech either, so the "
            "probe says nothing of what it listens to"
        )
    if synthetic["ci_low"] <= 0:
        return (
            "with the words alone, spoken neutrally, valence agrees with the truth no better than "
            "chance: what the model gets right on the original speech it seems to take from how it "
            "is said and not from the words, or it does not follow this synthetic voice"
        )
    share = synthetic["value"] / original["value"]
    if gap["ci_high"] >= 0:
        return (
            f"the words alone, spoken neutrally, give {share:.0%} of the CCC of valence on the "
            "original speech, no clear loss: the model seems to use the words"
        )
    extent = "mostly the words" if share > MOSTLY else "the words in part"
    return (
        f"the words alone, spoken neutrally, give {share:.0%} of the CCC of valence on the "
        f"original speech: the model seems to use {extent}, and for the rest how they are "
        "said, or it follows this synthetic voice less well"
    )


def _cell(row: Row) -> str:
    if row["value"] is None:
        return f"   -  ({row['reason']})"
    interval = (
        "[no interval]"
        if row["ci_low"] is None
        else f"[{row['ci_low']:6.3f}, {row['ci_high']:6.3f}]"
    )
    return f"{row['value']:6.3f}  {interval}"


def _count(side: str, counts: Mapping[str, Any], num_segments: int) -> str:
    missing = ", ".join(f"{number} {reason}" for reason, number in counts["missing"].items())
    line = f"{side} speech: {counts['scored']} of {num_segments} segments"
    return f"{line}; missing: {missing}" if missing else line
