"""One careful sentence for each outcome, and a table with valence first."""

import re

import pytest

from orchestration.text_probe.wording import meaning, probe_text_lines

Interval = tuple[float | None, float | None, float | None]


def row(metric: str, condition: str, interval: Interval, target: str = "valence") -> dict:
    value, ci_low, ci_high = interval
    return {
        "target": target,
        "metric": metric,
        "condition": condition,
        "value": value,
        "ci_low": ci_low,
        "ci_high": ci_high,
        "reason": "no variance" if value is None else None,
    }


def statistics(original: Interval, synthetic: Interval, gap: Interval) -> list[dict]:
    return [
        row(f"{metric}{suffix}", condition, interval, target)
        for target in ("valence", "arousal", "dominance")
        for metric in ("concordance_cc", "pearson_cc")
        for suffix, condition, interval in (
            ("", "clean", original),
            ("", "synthetic", synthetic),
            ("_gap", "synthetic-clean", gap),
        )
    ]


GOOD, NOTHING, HALF = (0.6, 0.5, 0.7), (0.01, -0.1, 0.1), (0.3, 0.2, 0.4)
UNKNOWN: Interval = (None, None, None)


@pytest.mark.parametrize(
    ("original", "synthetic", "gap", "said"),
    [
        (GOOD, NOTHING, (-0.6, -0.7, -0.5), "no better than chance"),
        (GOOD, (0.58, 0.5, 0.7), (-0.02, -0.1, 0.1), "give 97% .* no clear loss"),
        (GOOD, HALF, (-0.3, -0.4, -0.2), "give 50% .* the words in part"),
        (GOOD, (0.55, 0.5, 0.6), (-0.05, -0.07, -0.03), "give 92% .* mostly the words"),
        (NOTHING, HALF, (0.3, 0.1, 0.5), "says nothing of what it listens to"),
        (GOOD, UNKNOWN, UNKNOWN, "without an interval"),
        ((0.6, None, None), HALF, UNKNOWN, "without an interval"),
    ],
)
def test_what_it_means(original: Interval, synthetic: Interval, gap: Interval, said: str) -> None:
    sentence = meaning(statistics(original, synthetic, gap))
    assert len(sentence.splitlines()) == 1
    assert re.search(said, sentence)


def test_the_table_has_valence_first_and_every_reason() -> None:
    rows = statistics(GOOD, UNKNOWN, UNKNOWN)
    partial = [row("sentiment_partial_cc", c, HALF) for c in ("clean", "synthetic")]
    probe = {
        "model": {"uri": "models:/m/1"},
        "voice": {"synthesiser": "espeak-ng", "name": "en-us", "rate_wpm": 175, "pitch": 50},
        "statistics": rows,
        "sentiment": {"name": "column points"},
        "counts": {
            "segments": 9,
            "original": {"scored": 9, "missing": {}},
            "synthetic": {"scored": 7, "missing": {"no_transcript": 2}},
        },
        "notes": ["mind this"],
        "meaning": "words",
    }
    text = "\n".join(probe_text_lines(probe))
    assert text.index("valence    CCC") < text.index("arousal    CCC")
    assert " 0.600  [ 0.500,  0.700]" in text
    assert "(no variance)" in text
    assert "column points" not in text
    assert "original speech: 9 of 9 segments\n" in text
    assert "synthetic speech: 7 of 9 segments; missing: 2 no_transcript" in text
    assert text.endswith("note: mind this\nmeaning: words")
    with_sentiment = "\n".join(probe_text_lines({**probe, "statistics": rows + partial}))
    assert "column points" in with_sentiment
