"""What a gate's configuration may say, and what it is told otherwise."""

from pathlib import Path

import pytest

from orchestration.gate_config import (
    BETTER,
    GapRule,
    GateConfig,
    Policies,
    StatisticRule,
    default_config,
    read_config,
)
from pipelines.transforms.replicates import KEPT_METRICS
from ser_model.schema import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def read(tmp_path, text):
    (tmp_path / "gate.yaml").write_text(text)
    return read_config(str(tmp_path / "gate.yaml"))


def test_every_kept_metric_has_a_good_end_and_no_other():
    assert set(BETTER) == set(KEPT_METRICS)


def test_a_whole_configuration(tmp_path):
    text = """
    inconclusive: {statistics: pass}
    statistics:
      - {metric: concordance_cc, margin: .02}
      - {metric: mean_absolute_error, margin: 1e-2, target: valence, better: lower}
      - {metric: concordance_cc, margin: 1, slice_by: sex, slice: sex=female, condition: noise}
    gaps:
      - {metric: concordance_cc, margin: .05, slice_by: sex}
    """
    assert read(tmp_path, text) == GateConfig(
        inconclusive=Policies(statistics="pass", gaps="pass"),
        statistics=(
            StatisticRule(metric="concordance_cc", margin=0.02),
            StatisticRule(
                metric="mean_absolute_error", margin=0.01, target="valence", better="lower"
            ),
            StatisticRule(
                metric="concordance_cc",
                margin=1.0,
                slice_by="sex",
                slice="sex=female",
                condition="noise",
            ),
        ),
        gaps=(GapRule(metric="concordance_cc", margin=0.05, slice_by="sex"),),
    )


def test_the_page_shows_the_defaults(tmp_path):
    """docs/gate.md prints them as a configuration."""
    page = (ROOT / "docs" / "gate.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    assert read(tmp_path, text) == default_config(cross_corpus=False)


def test_across_corpora_pcc_stands_in_the_place_of_ccc():
    config = default_config(cross_corpus=True)
    assert [rule.metric for rule in config.statistics] == [
        "pearson_cc",
        "unweighted_average_recall",
    ]


CCC = "metric: concordance_cc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"gate.yaml, line 1: the whole must be a mapping, not None"),
        ("[]", r"the whole must be a mapping"),
        ("{}", r"neither statistics nor gaps are listed"),
        ("statistics: 3", r"statistics must be a list, not 3"),
        ("statistics: [{metric: concordance_cc}]", r"statistics\[0\]\.margin is missing"),
        ("statistics: [{margin: .1}]", r"statistics\[0\]\.metric is missing"),
        ("statistics: [{metric: ccc, margin: .1}]", r"metric is 'ccc'; allowed are: concordance_c"),
        (f"gaps: [{{{CCC}, margin: 0}}]", r"gaps\[0\]: margin is 0.0, not a number above 0"),
        (f"gaps: [{{{CCC}, margin: .nan}}]", r"margin is nan, not a number above 0"),
        (f"gaps: [{{{CCC}, margin: .inf}}]", r"margin is inf"),
        (f"gaps: [{{{CCC}, margin: yes}}]", r"gaps\[0\]\.margin must be of type float, not True"),
        (f"gaps: [{{{CCC}, margin: .1, target: joy}}]", r"target is 'joy'; allowed are: arousal"),
        (f"gaps: [{{{CCC}, margin: .1, sice: a}}]", r"gaps\[0\]\.sice is not known; known are:"),
        (
            f"statistics: [{{{CCC}, margin: .1, better: lower}}]",
            r"better is 'lower', but concordance_cc is better where it is higher",
        ),
        (f"statistics: [{{{CCC}, margin: .1, slice: a=b}}]", r"slice 'a=b' needs slice_by"),
        (
            f"inconclusive: {{gaps: maybe}}\ngaps: [{{{CCC}, margin: .1}}]",
            r"inconclusive\.gaps is 'maybe'; allowed are: pass, fail",
        ),
        ("statistics: [", r"gate.yaml: .*line 1"),
        ("a: !!python/object/apply:os.getcwd []", r"could not determine a constructor"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml does not exist"):
        read_config(str(tmp_path / "nothing.yaml"))
