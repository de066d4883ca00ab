"""The files of published values: each reads, says what can be, and agrees with a second reading."""

from pathlib import Path

import pytest
import yaml

from orchestration.readers import READER_NAMES
from orchestration.readers.emotyda import DIALOGUE_ACTS
from orchestration.readers.iemocap import ELICITATION
from orchestration.reproduce import published
from orchestration.reproduce.published import (
    ALL,
    CORPORA,
    PublishedSystem,
    PublishedTable,
    PublishedValue,
    list_published,
    read_published,
)
from orchestration.reproduce.published_metrics import METRICS, metric_of
from ser_model.augment.catalogue import SETS, named
from ser_model.models.configuration import build
from ser_model.schema import DIMENSIONS, ConfigError
from ser_model.training.ensemble_recipe import list_ensemble_recipes, load_ensemble_recipe
from ser_model.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[3]

TABLES = {
    "wagner": "fig2 fig3 fig4 fig5 fig6 table3 fig7 fig8 fig9 fig10 fig11 fig12 fig13",
    "triantafyllopoulos": (
        "table1 table2 table3 table4 table5 table6 table7 table8 fig3 fig4 fig5 fig6"
    ),
    "gavali": "table3 table4 table5 table6 fig7 fig10 fig13 fig16 fig19 fig22 fig25 fig27",
    "deoliveira": "table1 table2 fig2 fig3",
}

TABLE = """
table: paper/table1
title: a
source: {paper: b, place: Table 1}
needs: [ravdess]
shows: c
notes: []
systems:
  - {name: one, recipe: gavali/xlsr-53}
rows:
  - {system: one, test: ravdess, target: emotion, metric: accuracy, value: 93, unit: percent}
"""


def table_of(text: str) -> PublishedTable:
    return build(PublishedTable, yaml.safe_load(text))


def test_every_table_of_the_papers_is_there_and_no_other():
    names = [f"{paper}/{name}" for paper, text in TABLES.items() for name in text.split()]
    assert list_published() == sorted(names)


@pytest.mark.parametrize("name", list_published())
def test_every_file_reads_and_says_where_it_is_from(name):
    table = read_published(name)
    assert table.table == name
    assert table.source.place.partition(" ")[0] in ("Table", "Figure")
    assert table.title and table.shows.endswith(".") and table.notes
    if table.source.place.startswith("Figure") and all(row.value is None for row in table.rows):
        assert "our numbers stand alone" in table.notes[0] or "without numbers" in table.notes[0]


@pytest.mark.parametrize("name", list_published())
def test_systems_are_recipes_that_train(name):
    for system in read_published(name).systems:
        if system.recipe is None:
            continue
        tasks = [f"task={target}" for target in DIMENSIONS] if system.single_task else []
        for overrides in [(*system.overrides, task) for task in tasks] or [system.overrides]:
            if system.recipe in list_ensemble_recipes():
                load_ensemble_recipe(system.recipe, overrides)
            else:
                load_recipe(system.recipe, overrides)


@pytest.mark.parametrize("name", list_published())
def test_conditions_are_those_that_can_be_scored(name):
    for row in read_published(name).rows:
        if row.condition in ("synthetic", "human-*db", "interior-*db"):
            continue
        assert row.condition in SETS or named([row.condition])


def test_corpora_are_those_that_can_be_read():
    assert {name.replace("-", "_") for name in CORPORA} <= set(READER_NAMES)


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("triantafyllopoulos/table4", "dialogue_act", DIALOGUE_ACTS),
        ("triantafyllopoulos/table8", "elicitation", ELICITATION),
    ],
)
def test_slices_are_called_as_the_reader_calls_them(table, column, values):
    slices = {row.slice for row in read_published(table).rows}
    assert slices == {f"{column}={value}" for value in values.values()}


def test_metrics_that_an_audit_gives_are_explained():
    page = (ROOT / "docs" / "statistics.md").read_text()
    changed = ("_difference", "_change")
    given = [name for name, metric in METRICS.items() if metric.given_by == "statistics"]
    assert given
    for name in given:
        if name == "concordance_cc_change" or name == "concordance_cc_difference":
            assert all(f"`METRIC{end}`" in page for end in changed)
        else:
            assert f"`{name.removesuffix(']')}" in page, name


def test_every_metric_is_of_some_table():
    used = {row.metric for name in list_published() for row in read_published(name).rows}
    stems = {f"{metric.partition('[')[0]}[]" if "[" in metric else metric for metric in used}
    assert stems == set(METRICS)


@pytest.mark.parametrize(
    ("table", "chosen", "value"),
    [
        ("wagner/fig2", ("w2v2-L-robust", "msp-podcast/test-1", "dominance", "clean"), 0.634),
        ("wagner/fig2", ("w2v2-L-robust", "cmu-mosi/test", "valence", "clean"), 0.539),
        ("wagner/fig2", ("hubert-b", "msp-podcast/test-1", "valence", "clean"), 0.636),
        ("wagner/table3", ("w2v2-L-robust", "iemocap", "dominance", "human-0db"), -0.167),
        ("wagner/table3", ("w2v2-L-robust", "msp-podcast/test-1", "valence", "human-0db"), -0.278),
        ("wagner/table3", ("w2v2-L-robust", "msp-podcast/test-1", "dominance", "fade"), 0.0),
        ("wagner/fig7", ("cnn14", ALL, ALL, "clean"), -0.043),
        ("triantafyllopoulos/table5", ("mfcnn14", "msp-podcast/test-1", "valence", "clean"), 0.521),
        ("triantafyllopoulos/table5", ("bert", "msp-podcast/test-1", "dominance", "clean"), 0.214),
        ("triantafyllopoulos/table2", ("cnn14", "iemocap", "dominance", "clean"), 0.471),
        ("gavali/table3", ("five vote", "ravdess/random-80-20", "emotion", "clean"), 0.9688),
        ("gavali/table4", ("xlsr-53", "ravdess/random-80-20", "emotion", "clean"), 0.93),
        ("gavali/table5", ("hubert-base", "ravdess/random-80-20", "", "clean"), 1265.0),
        ("deoliveira/table1", ("distilhubert", "msp-podcast/test-2", "valence", "clean"), 0.169),
        ("deoliveira/table1", ("hubert-base", "msp-podcast/test-1", "dominance", "clean"), 0.486),
        ("deoliveira/table2", ("with Whisper tiny", "msp-podcast/test-1", "", "clean"), 0.241),
    ],
)
def test_values_agree_with_a_second_reading(table, chosen, value):
    rows = read_published(table).rows
    found = [r for r in rows if (r.system, r.test, r.target, r.condition) == chosen]
    assert found[0].scaled_value == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("table", "system", "metric", "slice_", "value"),
    [
        ("triantafyllopoulos/table8", "cnn14", "f1[happiness]", "elicitation=improvised", 0.552),
        ("triantafyllopoulos/table7", "bert", "concordance_cc", "elicitation=scripted", 0.444),
        ("triantafyllopoulos/fig3", "cnn14", "confusion[neutral,sadness]", "", 1596.0),
        ("gavali/fig16", "hubert-xlarge", "recall[neutral]", "", 0.58),
        ("gavali/fig27", "three vote", "unweighted_average_recall", "", 0.96),
        ("deoliveira/table1", "w2v2-L-robust-p-tinybert", "num_parameters_m", "", 180.0),
        ("wagner/fig9", "w2v2-L-wo-pretrain", "best_epoch", "", 17.0),
    ],
)
def test_values_of_classes_and_slices_agree_too(table, system, metric, slice_, value):
    rows = read_published(table).rows
    found = [r for r in rows if (r.system, r.metric, r.slice) == (system, metric, slice_)]
    assert found[0].scaled_value == pytest.approx(value, abs=1e-9)


def test_squared_errors_are_brought_to_0_to_1():
    rows = read_published("triantafyllopoulos/table3").rows
    found = [r for r in rows if (r.system, r.metric) == ("cnn14", "mean_squared_error")]
    assert found[0].scaled_value == pytest.approx(0.333 / 16)


def test_tests_over_seeds_and_over_segments():
    rows = read_published("triantafyllopoulos/table1").rows
    fused = [r for r in rows if r.system == "mfcnn14" and r.trained_on == "msp-podcast/train"]
    assert [r.differs_from for r in fused] == [("cnn14", "bert"), ("cnn14",)]
    assert fused[0].scaled_deviation == pytest.approx(0.008)
    rows = read_published("triantafyllopoulos/table4").rows
    wanted = ("bert", "dominance", "dialogue_act=question")
    assert [r.p_value for r in rows if (r.system, r.target, r.slice) == wanted] == [0.034]


def test_printed_means_follow_from_the_printed_changes():
    """A minus sign that got lost, or a cell in the wrong row, would show here."""
    rows = read_published("wagner/table3").rows
    single = [row for row in rows if row.test != ALL]

    def mean_of(start: str) -> float:
        values = [row.value for row in single if row.condition.startswith(start)]
        return sum(values) / len(values)

    assert len(single) == 77
    assert mean_of("human-") == pytest.approx(-0.103, abs=5e-4)
    assert mean_of("interior-") == pytest.approx(-0.055, abs=5e-4)
    assert mean_of("") == pytest.approx(-0.068, abs=5e-4)


@pytest.mark.parametrize("name", [n for n in list_published() if n.startswith("gavali/fig")])
def test_the_accuracy_of_a_report_follows_from_its_recalls(name):
    by_metric = {row.metric: row.value for row in read_published(name).rows}
    num_segments = dict.fromkeys(("calm", "fear", "surprise"), 39)
    num_segments |= dict.fromkeys(("anger", "disgust", "happiness", "sadness"), 38) | {
        "neutral": 19
    }
    hits = sum(round(by_metric[f"recall[{name}]"] * n) for name, n in num_segments.items())
    assert hits / 288 == pytest.approx(by_metric["accuracy"], abs=0.005)


def test_the_example_reads():
    assert table_of(TABLE).rows[0].scaled_value == 0.93


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: accuracy", "metric: acuracy", "metric 'acuracy' is not known"),
        ("metric: accuracy", "metric: 'recall[]'", "is not known"),
        ("needs: [ravdess]", "needs: [ravdes]", "corpus 'ravdes' is not known"),
        ("test: ravdess", "test: iemocap", "iemocap is used and not in needs"),
        ("test: ravdess", "test: ravdess/train", "ravdess has no part 'train'"),
        ("test: ravdess", "test: crema", "corpus 'crema' is not known"),
        ("value: 93", "value: 930", r"accuracy is 9\.3"),
        ("value: 93", "value: 93, standard_deviation: -1", "is negative"),
        ("value: 93", "value: 93, p_value: 2", "is not in"),
        ("value: 93", "value: 93, slice: 'sex=*'", "without a number"),
        ("value: 93, unit: percent", "value: .93, unit: 'range 1:5'", "is for mean_squared_error"),
        ("target: emotion", "target: joy", "target 'joy' is none of"),
        ("system: one", "system: two", "two is used and not listed|one is used by no row"),
        ("recipe: gavali/xlsr-53", "members: [one]", "members need a vote"),
        ("recipe: gavali/xlsr-53", "note: ''", "say in its note what it is"),
        ("value: 93", "valve: 93", "valve is not known"),
    ],
)
def test_what_is_refused(old, new, message):
    assert old in TABLE
    with pytest.raises(ValueError, match=message):
        table_of(TABLE.replace(old, new))


def test_a_row_that_is_there_twice_is_refused():
    row = TABLE.strip().splitlines()[-1]
    with pytest.raises(ValueError, match="accuracy, clean is there twice"):
        table_of(f"{TABLE}{row.replace('93', '92')}\n")


def test_tables_of_the_best_of_several_seeds_say_so():
    best = {name for name in list_published() if read_published(name).seeds == "best"}
    triantafyllopoulos = "table3 table4 table6 table7 table8 fig3 fig4 fig5"
    assert best == {f"triantafyllopoulos/{name}" for name in triantafyllopoulos.split()}


def test_transcripts_are_pinned_models():
    systems = [system for name in list_published() for system in read_published(name).systems]
    named = {system.transcripts for system in systems} - {""}
    assert len(named) == 3
    for uri in named:
        scheme, _, revision = uri.partition("@")
        assert scheme.startswith("hf:") and len(revision) == 40
    with pytest.raises(ValueError, match="needs a recipe"):
        PublishedSystem(name="a", transcripts="hf:a/b", note="b")


def test_a_training_without_a_recipe_is_refused():
    with pytest.raises(ValueError, match="needs a recipe"):
        PublishedSystem(name="a", overrides=("seed=1",), note="b")


def test_an_unknown_table_names_those_that_there_are():
    with pytest.raises(ConfigError, match=r"no table 'gavali/table9'; .*gavali/table4"):
        read_published("gavali/table9")
    with pytest.raises(ConfigError, match="no table"):
        read_published("../published/gavali/table4")


def test_a_broken_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    monkeypatch.setattr(published, "_folder", lambda: tmp_path)
    (tmp_path / "paper" / "table1.yaml").write_text(TABLE.replace("93", "x"))
    with pytest.raises(ValueError, match=r"published/paper/table1.yaml: rows\[0\].value"):
        read_published("paper/table1")
    (tmp_path / "paper" / "table2.yaml").write_text(TABLE)
    with pytest.raises(ValueError, match="table is 'paper/table1', not its file's name"):
        read_published("paper/table2")


def test_rows_inherit_what_every_row_says(tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    monkeypatch.setattr(published, "_folder", lambda: tmp_path)
    text = TABLE.replace("rows:", "every_row: {trained_on: ravdess, value: null}\nrows:")
    (tmp_path / "paper" / "table1.yaml").write_text(text)
    [row] = read_published("paper/table1").rows
    assert (row.trained_on, row.value) == ("ravdess", 93.0)


def test_metrics_of_a_class_are_known_by_their_stem():
    assert metric_of("f1[anger]") is METRICS["f1[]"]
    assert PublishedValue(system="a", metric="f1[anger]", value=None).scaled_value is None
