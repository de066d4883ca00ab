"""Where the marks of a trend stand, and the same in words."""

import re
from dataclasses import replace

import pytest

from orchestration.nights.measures import Point, measures_of, statistics_of
from orchestration.nights.record import Headline
from orchestration.nights.trends import HEIGHT, MAX_DOTS, corpus_trends


def ccc(value, low=None, high=None, target="arousal"):
    return Headline(
        slice="", target=target, metric="concordance_cc", value=value, ci_low=low, ci_high=high
    )


@pytest.fixture
def night(make_night, make_corpus):
    """night(name, candidate=rows, champion=rows, **fields); a role without rows is absent"""

    def make(name, candidate=None, champion=None, **fields):
        corpus = make_corpus()
        rows = {"candidate": candidate, "champion": champion}
        models = tuple(
            replace(one, headlines=tuple(rows[one.role]))
            for one in corpus.models
            if rows[one.role] is not None
        )
        fields = {"outcome": "accepted"} | fields
        return make_night(name=name, corpora=(replace(corpus, models=models),), **fields)

    return make


def trend_of(nights, title="CCC of arousal"):
    return next(t for t in corpus_trends(nights, "podcast") if t.title == title)


def ys(path):
    return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]


def test_a_line_breaks_where_a_night_has_no_champion(night):
    values = (0.6, 0.7, None, 0.8)
    nights = [night(str(n), champion=[ccc(v)]) for n, v in enumerate(values)]
    trend = trend_of(nights)
    assert (trend.axis.low, trend.axis.high) == (0.6, 0.8)
    assert trend.line.count("M") == 2
    assert ys(trend.line) == pytest.approx([HEIGHT, HEIGHT / 2, 0.0], abs=0.1)
    assert trend.points.count("h0") == 3
    assert (trend.candidates, trend.refused, trend.whiskers, trend.band) == ("", "", "", "")


def test_refused_candidates_are_crosses_and_others_diamonds(night):
    nights = [
        night("1", candidate=[ccc(0.6, 0.5, 0.7)], outcome="first", is_promoted=True),
        night("2", candidate=[ccc(0.5)], champion=[ccc(0.6)], outcome="refused"),
        night("3", candidate=[ccc(0.7)], champion=[ccc(0.6)]),
    ]
    trend = trend_of(nights)
    assert trend.candidates.count("z") == 2
    assert trend.refused.count("M") == 1
    assert trend.whiskers.count("M") == 1
    # behind the first of three nights
    assert trend.promotions == f"M100 0V{HEIGHT:g}"
    assert trend.description == (
        "Champion on 2 nights: lowest .600, highest .600, last .600 on 3. "
        "Candidates on 3 nights: lowest .500, highest .700, last .700 on 3. "
        "Refused candidates: 1. Promotions: 1."
    )


def test_an_interval_that_stands_alone_has_a_width(night):
    alone = trend_of([night("1", champion=[ccc(0.6, 0.5, 0.7)])])
    xs = {float(x) for x in re.findall(r"[ML]([\d.]+) ", alone.band)}
    assert max(xs) - min(xs) == pytest.approx(4.0)
    both = trend_of([night(str(n), champion=[ccc(0.6, 0.5, 0.7)]) for n in range(2)])
    assert both.band.count("L") == 3


def test_many_nights_have_dots_where_there_is_no_line(night):
    values = [ccc(0.6)] * (MAX_DOTS + 3)
    values[5] = values[7] = ccc(None)
    trend = trend_of([night(str(n), champion=[value]) for n, value in enumerate(values)])
    assert trend.points.count("h0") == 1
    assert trend.line.count("M") == 3


def test_names_of_nights_stand_at_both_ends_and_are_cut(night):
    trend = trend_of([night("n" * 50, champion=[ccc(0.5)]), night("last", champion=[ccc(0.5)])])
    (_, start, first), (_, end, last) = trend.labels
    assert (start, end, last) == ("start", "end", "last")
    assert first == "n" * 13 + "…"
    (label,) = trend_of([night("only", champion=[ccc(0.5)])]).labels
    assert label[1:] == ("middle", "only")


def test_the_largest_gap_is_taken_by_its_size(night):
    def gap(value, low=None, high=None, name="sex=female-sex=male"):
        metric = "concordance_cc_gap"
        row = Headline(slice=name, target="arousal", metric=metric, value=value)
        return replace(row, ci_low=low, ci_high=high)

    rows = [gap(0.02), gap(-0.08, -0.12, -0.03), gap(None)]
    trend = trend_of([night("1", candidate=rows)], "Largest gap between groups")
    assert "lowest .080" in trend.description
    assert trend.whiskers
    (measure,) = [m for m in measures_of([]) if m.title == "Largest gap between groups"]
    scored = night("1", candidate=rows).corpora[0].models[0]
    assert measure.read(scored) == Point(value=0.08, low=0.03, high=0.12)


def test_throughput_has_a_gap_where_nothing_was_scored(night):
    one = night("1", candidate=[], champion=[])
    titles = {trend.title: trend for trend in corpus_trends([one], "podcast")}
    # The champion's run was there before.
    assert titles["Seconds of audio a device second"].description.startswith(
        "No night has a value of the champion. Candidates on 1 night: lowest 60.00"
    )
    assert "Cost of the night's scoring" not in titles
    assert titles["Share of segments rejected"].axis.high >= 0.0025


def test_statistics_are_in_the_order_of_targets(night):
    rows = [ccc(0.1, target="valence"), ccc(0.1, target="other"), ccc(0.1, target="arousal")]
    corpus = night("1", candidate=rows).corpora[0]
    assert [target for _, target in statistics_of([None, corpus])] == [
        "arousal",
        "valence",
        "other",
    ]


def test_a_corpus_without_numbers_has_no_figures(make_night, make_corpus):
    assert corpus_trends([make_night(corpora=(make_corpus(models=()),))], "podcast") == ()
    assert corpus_trends([make_night(corpora=())], "podcast") == ()
