"""A night in a screen of text."""

from __future__ import annotations

from collections.abc import Iterator

from orchestration.nights.record import CorpusNight, Night, Scored
from orchestration.report.wording import name
from ser_model import storage

_LABELS = {"concordance_cc": "CCC", "pearson_cc": "PCC", "unweighted_average_recall": "UAR"}

INDEX_FILE = "index.html"


def night_text(night: Night, output: str) -> str:
    """Say what became of the candidate, why, and where to look."""
    lines = [f"night {night.name}: {verdict(night)}"]
    for corpus in night.corpora:
        lines += _corpus_lines(corpus)
    return "\n".join([*lines, f"all nights: {storage.join(output, INDEX_FILE)}"])


def verdict(night: Night) -> str:
    """Say in one sentence what became of the candidate."""
    if night.outcome == "unchanged":
        said = f"{night.champion} stays champion; there is no candidate"
    elif night.outcome == "refused":
        said = f"REFUSED: {night.candidate}; {night.champion} stays champion"
    elif night.is_promoted:
        said = f"PROMOTED: {night.candidate} is champion"
        said += " (the first)" if night.outcome == "first" else f" in the place of {night.champion}"
    else:
        said = f"{night.candidate} may be champion, and was not promoted"
    num_alarms = sum(len(corpus.alarms) for corpus in night.corpora)
    return f"{said}; ALARMS: {num_alarms}" if num_alarms else said


def _corpus_lines(corpus: CorpusNight) -> Iterator[str]:
    yield f"  {corpus.name}"
    for one in corpus.models:
        values = ", ".join(_values(one)) or "no value of any metric"
        yield f"    {one.role:<9}  {name(one.model_version)}: {values}{_rejected(one)}"
    for reason in corpus.reasons:
        yield f"    refused: {reason}"
    for alarm in corpus.alarms:
        yield f"    alarm: {alarm.detail}"
    if corpus.report is not None:
        yield f"    report: {corpus.report}"


def _values(scored: Scored) -> Iterator[str]:
    for row in scored.headlines:
        if not row.slice and row.value is not None:
            yield f"{_LABELS[row.metric]} {row.target} {row.value:.3f}"


def _rejected(scored: Scored) -> str:
    if not scored.num_rejections:
        return ""
    return f"; {scored.num_rejections} of {scored.num_segments} segments rejected"
