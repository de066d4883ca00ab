"""`serval audit --suite ser-tests` from the command line to tests.parquet, on a made-up corpus."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from orchestration.cli import main
from orchestration.suite_text import suite_lines
from ser_model.schema import DIMENSIONS, TESTS

NUM_SPEAKERS = 24
PER_SPEAKER = 27
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def make_corpus(folder):
    """Truth, and five models: one that follows it, and four that do not."""
    random = np.random.default_rng(0)
    num = NUM_SPEAKERS * PER_SPEAKER
    speaker = np.repeat(np.arange(NUM_SPEAKERS), PER_SPEAKER)
    metadata = pd.DataFrame(
        {
            "segment_id": [f"segment {n:04}" for n in range(num)],
            "speaker_id": [f"speaker {n:02}" for n in speaker],
            "sex": np.where(speaker % 2, "male", "female"),
            "accent": np.array(["irish", "welsh"])[speaker // 2 % 2],
            "pitch_hz": 110 + 60 * (speaker % 3) + random.normal(0, 5, num),
            "emotion": random.choice(EMOTIONS, num),
        }
    )
    for dimension in DIMENSIONS:
        metadata[dimension] = np.clip(random.normal(0.5, 0.18, num), 0, 1)
    metadata.to_csv(folder / "metadata.csv", index=False)
    good = metadata[["segment_id"]].copy()
    for dimension in DIMENSIONS:
        good[dimension] = metadata[dimension] + random.normal(0, 0.05, num)
    is_right = random.random(num) < 0.85
    good["emotion"] = np.where(is_right, metadata.emotion, random.choice(EMOTIONS, num))
    models = {name: good.copy() for name in ("good", "random", "constant", "shuffled", "deaf")}
    for target in (*DIMENSIONS, "emotion"):
        gaussian = random.normal(0.5, 1 / 6, num)
        is_emotion = target == "emotion"
        models["random"][target] = random.choice(EMOTIONS, num) if is_emotion else gaussian
        models["constant"][target] = "anger" if is_emotion else 0.5
        models["shuffled"][target] = random.permutation(good[target].to_numpy())
    models["deaf"]["valence"] = gaussian  # one target alone is not followed
    for name, rows in models.items():
        rows.to_parquet(folder / f"{name}.parquet", index=False)
    return [str(folder / f"{name}.parquet") for name in models]


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    files = make_corpus(folder)
    options = ["--metadata", folder / "metadata.csv", "--replicates", 80, "--suite", "ser-tests"]
    assert run("audit", *files, *options, "--output", folder / "audit") == 0
    return folder / "audit"


@pytest.fixture(scope="module")
def models(audited):
    suite = json.loads((audited / "audit.json").read_text())["suite"]
    assert suite["name"] == "ser-tests"
    assert suite["groupings"] == ["accent", "sex", "pitch_group"]
    return {model["model_version"]: model for model in suite["models"]}


@pytest.fixture(scope="module")
def tests(audited):
    table = pq.read_table(audited / "tests.parquet")
    assert table.schema == TESTS
    return table.to_pandas()


def test_a_model_that_follows_the_truth_is_judged(models, tests):
    good = models["good"]
    assert good["is_admissible"]
    assert good["pass_rate"] == good["outcomes"]["pass"] / good["num_tests"]
    of_good = tests[tests.model_version == "good"]
    assert len(of_good) == good["num_tests"]
    assert of_good.outcome.value_counts().to_dict() == good["outcomes"]
    passed = set(of_good[of_good.outcome == "pass"].test)
    assert {"Concordance Correlation Coeff", "Unweighted Average Recall", "Mean Value"} <= passed
    assert "Concordance Correlation Coeff Female" in passed
    skipped = of_good[of_good.outcome == "skipped"]
    assert skipped.reason.notna().all()
    assert set(skipped[skipped.family == "fairness language"].reason) == {
        "the metadata has no column language"
    }


@pytest.mark.parametrize("name", ["random", "constant", "shuffled"])
def test_models_that_do_not_follow_the_truth_have_no_pass_rate(models, tests, name):
    model = models[name]
    assert not model["is_admissible"]
    assert model["pass_rate"] is None
    assert {target["pass_rate"] for target in model["targets"].values()} == {None}
    of_model = tests[tests.model_version == name]
    assert set(of_model.outcome) == {"not admissible"}
    assert of_model.reason.notna().all()


def test_many_fairness_tests_of_a_random_model_would_have_passed(tests):
    """What the plain reading makes of it, which is why admission comes first."""
    of_random = tests[(tests.model_version == "random") & tests.family.str.startswith("fairness")]
    read = of_random.point_outcome.dropna()
    assert (read == "pass").mean() > 0.8


def test_a_model_that_follows_some_targets_is_judged_on_those(models, tests):
    deaf = models["deaf"]
    assert not deaf["targets"]["valence"]["is_admissible"]
    assert (
        deaf["targets"]["arousal"]["pass_rate"] == models["good"]["targets"]["arousal"]["pass_rate"]
    )
    assert deaf["pass_rate"] is None
    of_valence = tests[(tests.model_version == "deaf") & (tests.target == "valence")]
    assert set(of_valence.outcome) == {"not admissible"}


def test_all_models_have_the_same_number_of_tests(models):
    assert len({model["num_tests"] for model in models.values()}) == 1


def test_the_summary(models):
    suite = {"name": "ser-tests", "models": [models["good"], models["constant"]]}
    lines = suite_lines({"suite": suite})
    counts = ", ".join(f"{n} {outcome}" for outcome, n in models["good"]["outcomes"].items())
    number = models["good"]["num_tests"]
    assert lines[0].startswith(
        f"suite ser-tests, model good: of {number} tests {counts} (pass rate"
    )
    assert lines[1] == f"suite ser-tests, model constant: of {number} tests {number} not admissible"
    assert lines[2] == "  not admissible: predictions of arousal do not vary"
    assert suite_lines({}) == []


def test_without_a_suite_nothing_is_added(audited, tmp_path):
    corpus = audited.parent
    options = ["--metadata", corpus / "metadata.csv", "--replicates", 80]
    assert run("audit", corpus / "good.parquet", *options, "--output", tmp_path / "plain") == 0
    assert not (tmp_path / "plain" / "tests.parquet").exists()
    assert "suite" not in json.loads((tmp_path / "plain" / "audit.json").read_text())
    plain = pq.read_table(tmp_path / "plain" / "statistics.parquet").to_pandas()
    with_suite = pq.read_table(audited / "statistics.parquet").to_pandas()
    key = ["model_version", "condition", "slice_by", "slice", "target", "metric"]
    both = plain.merge(with_suite, on=key, suffixes=("", "_with"))
    assert len(both) == len(plain)
    for column in ("value", "ci_low", "ci_high", "p_adjusted"):
        pd.testing.assert_series_equal(both[column], both[f"{column}_with"], check_names=False)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("pitch_hz", "high", "row 3: pitch_hz 'high' is not a number"), ("sentiment", "0.3", "row 3")],
)
def test_a_column_that_holds_something_else(audited, tmp_path, capsys, column, value, message):
    metadata = pd.read_csv(audited.parent / "metadata.csv", dtype=str)
    metadata[column] = "neutral" if column == "sentiment" else metadata[column]
    metadata.loc[2, column] = value
    metadata.to_csv(tmp_path / "metadata.csv", index=False)
    options = ["--metadata", tmp_path / "metadata.csv", "--suite", "ser-tests"]
    assert run("audit", audited.parent / "good.parquet", *options, "--output", tmp_path / "a") == 2
    assert message in capsys.readouterr().err


def test_an_unknown_suite_is_refused(audited, tmp_path, capsys):
    options = ["--metadata", audited.parent / "metadata.csv", "--suite", "other"]
    with pytest.raises(SystemExit):
        run("audit", audited.parent / "good.parquet", *options, "--output", tmp_path / "a")
    assert "--suite" in capsys.readouterr().err


def test_every_family_test_and_metric_stands_on_the_page(tests):
    page = (Path(__file__).parents[2] / "docs" / "ser-tests.md").read_text()
    for family in tests.family.unique():
        assert family.removeprefix("robustness ").removeprefix("correctness ") in page, family
    for metric in tests.metric.unique():
        kind, bracket, _ = metric.partition("[")
        assert f"`{kind}{bracket}" in page, metric


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_workers(audited, tmp_path):
    corpus = audited.parent
    options = ["--metadata", corpus / "metadata.csv", "--replicates", 20, "--suite", "ser-tests"]
    workers = {
        "one": [],
        "two": ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    }
    written = {}
    for name, beam_options in workers.items():
        output = ["--output", tmp_path / name]
        files = [corpus / "good.parquet", corpus / "deaf.parquet"]
        assert run("audit", *files, *options, *output, *beam_options) == 0
        written[name] = [
            (tmp_path / name / table).read_bytes()
            for table in ("statistics.parquet", "tests.parquet")
        ]
    assert written["one"] == written["two"]


def test_a_scored_condition_is_tested(audited, tmp_path):
    clean = pd.read_parquet(audited.parent / "good.parquet")
    noisy = clean.assign(condition="babble-20db", valence=0.5)
    both = pd.concat([clean.assign(condition="clean"), noisy])
    both.assign(model_version="good").to_parquet(tmp_path / "both.parquet", index=False)
    options = ["--metadata", audited.parent / "metadata.csv", "--suite", "ser-tests"]
    options += ["--replicates", 40, "--output", tmp_path / "audit"]
    assert run("audit", tmp_path / "both.parquet", *options) == 0
    tests = pd.read_parquet(tmp_path / "audit" / "tests.parquet")
    babble = tests[tests.condition == "babble-20db"].set_index(["test", "target"])
    change = babble.loc[[name.startswith("Change") for name, _ in babble.index]]
    assert change.outcome.to_dict() == {
        ("Change CCC Babble Noise", "arousal"): "pass",
        ("Change CCC Babble Noise", "dominance"): "pass",
        ("Change CCC Babble Noise", "valence"): "fail",
        ("Change UAR Babble Noise", "emotion"): "pass",
    }
