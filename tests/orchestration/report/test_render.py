"""The report says what the statistics say, all of it escaped, the same bytes each time."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.report.render import render_report
from orchestration.report.wording import DASH, DRAWS_METRIC, MINUS, number
from ser_model import storage
from ser_model.schema import SPEAKERS, STATISTICS, RunError

SHRUNK = ("shrunk_value", "shrunk_low", "shrunk_high")
VOID = {"meta", "link", "br", "hr", "img", "input"}
"""Elements without an end tag."""


class Page(HTMLParser):
    """Checks that tags are nested; collects text, headings, the values of <data>, attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.values: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self._value = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "data":
            self._value = dict(attrs)["value"]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text.append(data)
        if self.open and self.open[-1] == "data":
            self.values.append((self._value, data))
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def rendered(folder: str) -> str:
    output = storage.join(folder, "report.html")
    render_report(folder, output)
    return storage.read_bytes(output).decode()


def numbers_of(folder: str) -> set[float]:
    """Every number of the audit's two tables of statistics."""
    numbers: set[float] = set()
    for name in ("statistics.parquet", "speakers.parquet"):
        table = storage.read_table(storage.join(folder, name))
        columns = ("value", "ci_low", "ci_high", "p_value", "p_adjusted")
        names = (*columns, "margin", "minimum_detectable_effect", *SHRUNK)
        for column in (column for column in names if column in table.column_names):
            numbers |= set(table.column(column).drop_null().to_pylist())
    return numbers


def test_the_verdict_names_the_planted_gap(make_audit) -> None:
    page = Page(rendered(make_audit()))
    sentence = (
        "accent=scottish is predicted worse than the rest on arousal by .312 CCC "
        "(95% interval .222 to .402)"
    )
    assert f"it is not fair: {sentence}." in page.words
    assert page.words.index(sentence) < page.words.index("How right it is")
    assert "Are groups by accent treated alike? Fail" in page.words
    light = (
        "Are groups by sex treated alike? Inconclusive No gap is shown to be too large, but only"
    )
    assert light in page.words


@pytest.mark.parametrize("kind", ["dimensions", "emotion"])
def test_every_number_shown_is_in_the_audit(make_audit, kind: str) -> None:
    folder = make_audit(kind)
    page = Page(rendered(folder))
    numbers = numbers_of(folder)
    assert len(page.values) > 30
    for value, shown in page.values:
        assert float(value) in numbers
        assert shown in {number(float(value)), "< .001"}
    # A gap that is told from the worse side has its sign turned.
    allowed = {number(value) for value in numbers} | {number(-value) for value in numbers}
    shown_anywhere = set(re.findall(rf"(?<![\d.{MINUS}]){MINUS}?1?\.\d{{3}}(?!\d)", page.words))
    assert len(shown_anywhere) > 20
    assert shown_anywhere <= allowed


def test_dimensions_have_every_section(make_audit) -> None:
    page = Page(rendered(make_audit()))
    headings = [text for _, text in page.headings]
    for wanted in (
        "Model 3, clean",
        "How right it is",
        "How fair it is",
        "How it does by speaker",
        "Join ledger",
        "Method",
        "What this report cannot tell you",
        "Provenance",
    ):
        assert wanted in headings
    assert "Predictions read 482 Stand twice and count once 0" in page.words
    assert "480 of 482 predictions matched; 2 are not in the metadata" in page.words
    assert "1000" in page.words
    assert "models:/demo/3" in page.words


def test_a_suppressed_gap_is_a_dash_with_its_reason(make_audit) -> None:
    words = Page(rendered(make_audit())).words
    assert (
        f"english against scottish {DASH} fewer than 2 speakers {DASH} {DASH} Suppressed {DASH}"
        in words
    )


def test_emotions_have_recall_and_confusion(make_audit) -> None:
    folder = make_audit("emotion")
    words = Page(rendered(folder)).words
    assert "The model predicts emotion well enough (UAR above .5)" in words
    assert "Truth anger happiness neutral sadness All" in words
    confusion = storage.read_table(f"{folder}/confusion.parquet").to_pylist()
    row = [str(cell["num_segments"]) for cell in confusion if cell["truth"] == "anger"]
    assert f"anger {' '.join(row)} {sum(map(int, row))}" in words


def test_headings_are_in_order_and_cells_have_headers(make_audit) -> None:
    for kind in ("dimensions", "emotion"):
        page = Page(rendered(make_audit(kind, name=kind)))
        levels = [level for level, _ in page.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(below <= above + 1 for above, below in itertools.pairwise(levels))
        with_scope = sum(tag == "th" and name == "scope" for tag, name, _ in page.attributes)
        assert with_scope == page.tags.count("th") > 20
        assert page.tags.count("caption") == page.tags.count("table")
        for landmark in ("header", "nav", "main", "footer"):
            assert page.tags.count(landmark) == 1


def test_every_figure_is_described_and_ids_are_unique(make_audit) -> None:
    page = Page(rendered(make_audit(pairs=[{}, {"model_version": "12"}])))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for _, name, value in page.attributes:
        if name == "aria-labelledby":
            assert set(value.split()) <= set(ids)
    num_figures = page.tags.count("figure")
    assert num_figures == 12
    assert page.tags.count("title") == num_figures + 1
    assert page.tags.count("desc") == num_figures


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(make_audit) -> None:
    html = rendered(make_audit())
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "@import" not in html
    assert "url(" not in html
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "src"]
    links = [value for _, name, value in page.attributes if name == "href"]
    assert links
    assert all(link.startswith("#") for link in links)


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}&amp;-rest'


def test_hostile_names_are_text(make_audit, hostile_rows) -> None:
    folder = make_audit(
        rows=hostile_rows(HOSTILE),
        speaker_name=HOSTILE.replace("{", "{{").replace("}", "}}") + "{}",
        audit={"notes": [HOSTILE], "runs": [{HOSTILE: HOSTILE}]},
    )
    html = rendered(folder)
    page = Page(html)
    assert "<script" not in html
    assert "onerror" not in {name for _, name, _ in page.attributes}
    assert "img" not in page.tags
    assert "49" not in re.findall(r"\b49\b", page.words.replace("{{ 7 * 7 }}", ""))
    assert page.words.count('"><script>alert(1)</script>') > 5


def test_a_synthetic_corpus_is_announced_on_top(make_audit) -> None:
    folder = make_audit(audit={"corpus": {"synthetic": True}}, name="synthetic")
    words = Page(rendered(folder)).words
    assert words.index("The speech in this corpus is synthetic.") < words.index("The model")
    assert "is synthetic" not in Page(rendered(make_audit())).words


def test_several_models_stand_side_by_side_on_clean_audio_where_they_have_it(make_audit) -> None:
    babble = {"condition": "babble"}
    pairs = [{"model_version": "12"}, babble, {}, {"model_version": "7", **babble}]
    page = Page(rendered(make_audit(pairs=pairs)))
    sections = [text for level, text in page.headings if level == 2]
    assert sections[:3] == ["Model 3, clean", "Model 12, clean", "Model 7, babble"]
    assert "3 models and conditions were audited: 3 fail." in page.words


def test_the_same_audit_gives_the_same_bytes(make_audit) -> None:
    folder = make_audit()
    assert rendered(folder) == rendered(folder)


def test_the_order_of_rows_does_not_matter(make_audit) -> None:
    folder = make_audit()
    before = rendered(folder)
    for name in ("statistics", "speakers", "densities"):
        table = storage.read_table(f"{folder}/{name}.parquet")
        backwards = table.take(list(range(table.num_rows))[::-1])
        storage.write_table(f"{folder}/{name}.parquet", backwards)
    sha256 = re.compile("[0-9a-f]{64}")  # that of the file, which did change
    assert sha256.sub("", rendered(folder)) == sha256.sub("", before)


def test_the_size_is_bounded_whatever_the_number_of_speakers(make_audit) -> None:
    folder = make_audit(num_speakers=100_000)
    html = rendered(folder)
    assert len(html.encode()) < 2_000_000
    assert "CCC of 99,999 speakers; 200 of them, at even ranks, are drawn" in Page(html).words


def test_the_size_is_bounded_whatever_the_number_of_groups_and_models(
    make_audit, many_groups
) -> None:
    rows = many_groups(num_pairs=11, num_columns=13, num_slices=25, name="n" * 300)
    folder = make_audit(rows=rows, pairs=[{"condition": f"c{i}"} for i in range(11)])
    html = rendered(folder)
    assert len(html.encode()) < 2_000_000
    assert re.search(r"11 models and conditions; the first \d are shown in full", Page(html).words)


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no audit\.json.*run `serval audit` again"):
        render_report(str(tmp_path), str(tmp_path / "report.html"))


@pytest.mark.parametrize("name", ["audit.json", "statistics.parquet", "speakers.parquet"])
def test_a_missing_file_is_named(make_audit, name: str) -> None:
    folder = make_audit()
    (Path(folder) / name).unlink()
    with pytest.raises(RunError, match=re.escape(name)):
        rendered(folder)


@pytest.mark.parametrize(
    "name", ["audit.json", "statistics.parquet", "speakers.parquet", "densities.parquet"]
)
@pytest.mark.parametrize("data", [b"", b"PAR1 not really", b"[1, 2]", b"\xff\xfe"])
def test_a_corrupt_file_is_named(make_audit, name: str, data: bytes) -> None:
    folder = make_audit()
    (Path(folder) / name).write_bytes(data)
    with pytest.raises(RunError, match=re.escape(name)):
        rendered(folder)
    assert not (Path(folder) / "report.html").exists()


def test_a_missing_column_is_named(make_audit) -> None:
    folder = make_audit()
    path = f"{folder}/statistics.parquet"
    storage.write_table(path, storage.read_table(path).drop_columns(["ci_low"]))
    with pytest.raises(RunError, match="no column ci_low"):
        rendered(folder)


def test_an_audit_without_statistics_is_refused(make_audit) -> None:
    with pytest.raises(RunError, match="holds no statistic"):
        rendered(make_audit(rows=[]))


def test_an_audit_elsewhere_is_read_and_written(make_audit) -> None:
    folder = make_audit()
    for path in Path(folder).iterdir():
        storage.write_atomic(f"memory://report-test/{path.name}", path.read_bytes())
    render_report("memory://report-test", "memory://report-test/report.html")
    assert storage.read_bytes("memory://report-test/report.html").decode() == rendered(folder)


def test_gaps_are_shown_with_their_margin_and_what_could_be_seen(make_audit) -> None:
    words = Page(rendered(make_audit())).words
    assert ".002 .075 Fail .123" in words
    assert "Gender fairness score (CCC of female minus CCC of male speakers): arousal .024" in words


def test_margins_by_permutation_are_explained_where_they_were_used(make_audit) -> None:
    given = Page(rendered(make_audit())).words
    configuration = {"configuration": {"margins_from": "permutation"}}
    permuted = Page(rendered(make_audit(name="permuted", audit=configuration))).words
    assert "shuffled groups" not in given
    assert "shuffled groups" in permuted


def test_residuals_stand_by_stratum_with_both_tests(make_audit) -> None:
    words = Page(rendered(make_audit())).words
    assert "To which side it errs" in words
    assert f"Arousal {DASH} .345 .295 to .395" in words
    assert "american 160 .031" in words
    assert ".876 .012" in words
    assert "To which side it errs" not in Page(rendered(make_audit("emotion", name="e"))).words


def test_speakers_are_summed_up_and_shrunk(make_audit) -> None:
    words = Page(rendered(make_audit())).words
    assert f"Arousal 12 .057 .047 to .067 {DASH} .456 .456 .456 {DASH} {DASH}" in words
    assert "Shrunk, 95% interval" in words
    assert "Do models agree" not in words


def test_agreement_of_models_is_shown(make_audit) -> None:
    folder = make_audit()
    uri = storage.join(folder, "statistics.parquet")
    rows = storage.read_table(uri).to_pylist()
    pair = {"slice_by": "model_version", "slice": "model_version=3-model_version=4"}
    rows.append({**rows[0], **pair, "metric": "speaker_agreement", "value": 0.654})
    storage.write_table(uri, pa.Table.from_pylist(rows, schema=STATISTICS))
    words = Page(rendered(folder)).words
    assert "Do models agree on who is predicted well?" in words
    assert "model_version=3-model_version=4 , arousal: .654" in words


def test_the_papers_figure_has_a_panel_of_its_own(make_audit) -> None:
    folder = make_audit()
    uri = storage.join(folder, "speakers.parquet")
    table = storage.read_table(uri)
    at = table.column_names.index("metric")
    figure = table.set_column(at, SPEAKERS.field("metric"), pa.array([DRAWS_METRIC] * len(table)))
    storage.write_table(uri, pa.concat_tables([table, figure]))
    words = Page(rendered(folder)).words
    assert "CCC of 1000 draws of 200 of arousal by speaker, sorted" in words
    assert "CCC of arousal by speaker, sorted" in words


def test_across_corpora_the_first_sentence_speaks_of_pcc_and_ccc_stays_in_the_table(
    make_audit,
) -> None:
    configuration = {"slices": ["accent", "sex"], "cross_corpus": True}
    page = Page(rendered(make_audit(audit={"configuration": configuration})))
    verdict, _, rest = page.words.partition("How right it is")
    assert "PCC" in verdict
    assert "PCC" not in Page(rendered(make_audit(name="within"))).words.partition("How right")[0]
    assert "CCC" in rest
