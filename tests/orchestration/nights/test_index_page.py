"""The page of all nights: what became of the latest, trends, a table, links that can be moved."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestration.nights.index_page import (
    MAX_ALARMS,
    MAX_CORPORA,
    MAX_NIGHTS,
    MAX_ROWS,
    MAX_SENTENCES,
    build_index,
    render_index,
    write_index,
)
from orchestration.nights.record import NIGHT_FILE, Headline
from orchestration.report.wording import DASH
from ser_model import storage

VOID = {"meta", "br"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></desc></svg></table></main><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "\u202eturned\x1b[31m line\nbreak \ud800",
    "w" * 10_000,
]


class Parts(HTMLParser):
    """Checks that tags are nested; collects links, ids and described figures."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str | None]:
        return [value for known, value in self.attributes if known == name]


@pytest.fixture
def measured(make_corpus):
    """measured(name, arousal=.7, **fields) -> a corpus whose models have statistics"""

    def make(name: str = "podcast", *, arousal: float = 0.7, **fields: object):
        corpus = make_corpus(name=name, **fields)
        ends = {"ci_low": arousal - 0.02, "ci_high": arousal + 0.02}
        ccc = Headline(slice="", target="arousal", metric="concordance_cc", value=arousal, **ends)
        sexes = {"slice": "sex=female-sex=male", "metric": "concordance_cc_gap"}
        gap = Headline(target="arousal", value=-0.04, **sexes)
        models = (replace(one, headlines=(ccc, gap), cost=0.25) for one in corpus.models)
        return replace(corpus, models=tuple(models))

    return make


@pytest.fixture
def nights(make_night, measured):
    """nights(num) -> that many, oldest first: accepted and promoted, refused, and so on"""

    def make(num: int, **fields: object):
        return [
            make_night(
                name=f"night-{number:04d}",
                outcome="refused" if number % 2 else "accepted",
                is_promoted=not number % 2,
                corpora=(measured(arousal=0.7 + number / 10_000),),
                **fields,
            )
            for number in range(num)
        ]

    return make


def words_of(text: str) -> str:
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def page_of(nights, tmp_path: Path) -> str:
    uri = render_index(nights, str(tmp_path))
    assert uri == str(tmp_path / "index.html")
    return Path(uri).read_text()


def test_a_refusal_stands_on_top_with_its_reasons_and_alarms(make_night, tmp_path: Path) -> None:
    words = words_of(page_of([make_night()], tmp_path))
    before, _, after = words.partition("All nights Newest first")
    assert "REFUSED: models:/emotion/2; models:/emotion/1 stays champion; ALARMS: 1." in before
    assert "podcast : CCC valence, clean: worse by .100, shown to be worse." in before
    assert "podcast : arousal is distributed otherwise than in 7 nights" in before
    assert "0.25 % are rejected" not in words  # no alarm
    # candidate and champion, Rejected, hours, cost, alarms
    assert f"podcast report , gate .003 .000 1.00 {DASH} 1: jensen shannon divergence" in after


def test_scores_of_both_stand_in_the_table(nights, tmp_path: Path) -> None:
    words = words_of(page_of(nights(2), tmp_path))
    newest = words.index("night-0001 models:/emotion/2 models:/emotion/1 Refused No podcast")
    oldest = words.index("night-0000 models:/emotion/2 models:/emotion/1 Accepted Yes podcast")
    assert newest < oldest
    assert "report , gate .700 .700 .003 .000 1.00 0.50 1:" in words


def test_links_are_relative_to_the_page(make_night, make_corpus, tmp_path: Path) -> None:
    output = str(tmp_path)
    inside = f"{output}/nights/2026-11-21/podcast"
    corpus = make_corpus(report=f"{inside}/report.html", gate=f"{inside}/gate <1>.json")
    page = page_of([make_night(corpora=(corpus,))], tmp_path)
    links = [link for link in Parts(page).values("href") if link and not link.startswith("#")]
    folder = "nights/2026-11-21"
    files = ["night.json", "podcast/report.html", "podcast/gate%20%3C1%3E.json"]
    assert links == [f"{folder}/{file}" for file in files]


def test_links_in_an_object_store_are_relative_too(make_night, make_corpus) -> None:
    output = "memory://index-test"
    corpus = make_corpus(report=f"{output}/nights/1/report.html", gate="s3://elsewhere/gate.json")
    render_index([make_night(corpora=(corpus,))], output)
    page = storage.read_bytes(f"{output}/index.html").decode()
    assert '<a href="nights/1/report.html">' in page
    assert "s3://" not in page  # what a page cannot lead to is no link


@pytest.mark.parametrize("num", [0, 1, 2, 30])
def test_any_number_of_nights_makes_a_page(nights, tmp_path: Path, num: int) -> None:
    parts = Parts(page_of(nights(num), tmp_path))
    ids = parts.values("id")
    assert len(ids) == len(set(ids))
    assert {id_ for value in parts.values("aria-labelledby") for id_ in value.split()} <= set(ids)
    # CCC, gap, rejected, throughput, cost: each with a title and a description
    num_figures = 5 if num else 0
    assert parts.tags.count("figure") == parts.tags.count("desc") == num_figures
    assert parts.tags.count("title") == num_figures + 1
    assert not {"script", "link", "img"} & set(parts.tags)
    assert not [name for name, _ in parts.attributes if name.startswith("on") or name == "src"]
    assert parts.tags.count("th") == len(parts.values("scope"))


def test_the_newest_nights_are_drawn_and_the_rest_counted(nights, tmp_path: Path) -> None:
    many = nights(MAX_NIGHTS + 7)
    page = page_of(many, tmp_path)
    words = words_of(page)
    assert f"The newest {MAX_NIGHTS} of {MAX_NIGHTS + 7} nights." in words
    assert f"{MAX_NIGHTS} of {MAX_NIGHTS + 7} nights: all stand in the folder nights" in words
    assert "night-0006" not in words
    assert "night-0007" in words
    assert len(page) < 1_000_000


def test_many_corpora_are_cut_and_counted(make_night, measured, tmp_path: Path) -> None:
    corpora = tuple(measured(f"corpus-{number:02d}") for number in range(MAX_CORPORA + 3))
    many = [make_night(name=f"{number:04d}", corpora=corpora) for number in range(MAX_NIGHTS)]
    page = page_of(many, tmp_path)
    words = words_of(page)
    assert f"{MAX_CORPORA} of {MAX_CORPORA + 3} corpora are drawn." in words
    assert "3 more corpora stand in night.json" in words
    assert f"{MAX_ROWS // MAX_CORPORA} of {MAX_NIGHTS} nights" in words
    assert len(page) < 2_000_000


def test_many_reasons_and_alarms_are_cut_and_counted(make_night, make_corpus, tmp_path) -> None:
    alarm = make_corpus().alarms[0]
    num = MAX_SENTENCES + 4
    corpus = make_corpus(reasons=("why",) * num, drift=(alarm,) * num)
    words = words_of(page_of([make_night(corpora=(corpus,))], tmp_path))
    assert words.count("4 more stand in night.json") == 2
    short = ", ".join(["jensen shannon divergence arousal"] * MAX_ALARMS).replace(",", " ,")
    assert f"{num}: {short} …" in words


def test_a_corpus_that_went_stands_behind_those_of_the_latest_night(
    make_night, measured, tmp_path: Path
) -> None:
    first = make_night(name="1", corpora=(measured("old"), measured("kept")))
    second = make_night(name="2", corpora=(measured("new"), measured("kept")))
    index = build_index([first, second], str(tmp_path))
    assert [(c.name, c.last_night) for c in index.corpora] == [
        ("new", None),
        ("kept", None),
        ("old", "1"),
    ]
    assert "Last in night 1 ." in words_of(page_of([first, second], tmp_path))


def test_missing_values_are_dashes(make_night, make_corpus, tmp_path: Path) -> None:
    empty = make_corpus(models=(), report=None, gate=None, reasons=(), drift=())
    nothing = make_night(
        candidate=None, champion=None, outcome="unchanged", corpora=(empty,), exit_code=0
    )
    bare = replace(nothing, name="2026-11-22", corpora=())
    words = words_of(page_of([nothing, bare], tmp_path))
    assert f"2026-11-21 {DASH} {DASH} No candidate No podcast {DASH} 0.00 {DASH} {DASH}" in words
    assert f"2026-11-22 {DASH} {DASH} No candidate No No corpus" in words
    assert "No night has a number." in words


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(make_night, measured, tmp_path: Path, name: str) -> None:
    corpus = measured(name, reasons=(name,), report=name, gate=f"javascript:{name}")
    models = (
        replace(one, headlines=(*one.headlines, Headline(slice="", target=name, metric=name)))
        for one in corpus.models
    )
    drift = tuple(replace(f, kind=name, subject=name, detail=name) for f in corpus.drift)
    corpus = replace(corpus, models=tuple(models), drift=drift)
    pair = {"candidate": name, "champion": name, "mlflow_run": name}
    plain = make_night(corpora=(measured("plain"),))
    page = page_of([plain, make_night(name=name, corpora=(corpus,), **pair)], tmp_path)
    parts = Parts(page)
    assert set(parts.tags) <= set(Parts(page_of([plain], tmp_path)).tags) | {"br"}
    assert not {"onload", "onerror", "src"} & {known for known, _ in parts.attributes}
    assert not re.search("[\u202a-\u202e\x00-\x08\x0b-\x1f]", page)
    assert not [link for link in parts.values("href") if link and link.startswith("javascript")]
    assert len(page) < 150_000


def test_the_same_nights_give_the_same_bytes(nights, tmp_path: Path) -> None:
    assert page_of(nights(3), tmp_path) == page_of(nights(3), tmp_path)


def test_tonight_is_on_the_page_before_it_is_written_down(make_night, tmp_path: Path) -> None:
    for name in ("2026-11-20", "2026-11-22"):
        file = tmp_path / "nights" / name / NIGHT_FILE
        storage.write_json(str(file), make_night(name=name, outcome="first").to_json())
    tonight = make_night(name="2026-11-21")
    words = words_of(Path(write_index(str(tmp_path), tonight)).read_text())
    at = [words.index(f"2026-11-{day} models") for day in (22, 21, 20)]
    assert at == sorted(at)
    again = make_night(name="2026-11-22")
    words = words_of(Path(write_index(str(tmp_path), again)).read_text())
    assert words.count("2026-11-22 models") == 1
    assert "REFUSED" in words
    assert "2026-11-21 models" not in words


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(
    check_accessibility, nights, tmp_path: Path, scheme: str, width: int
) -> None:
    page = Path(render_index(nights(5), str(tmp_path)))
    accessibility = check_accessibility(page, scheme=scheme, width=width)
    assert {"color-contrast", "svg-img-alt", "scope-attr-valid"} <= set(accessibility["passes"])
    assert accessibility["violations"] == []
