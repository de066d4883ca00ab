"""What nightly.yaml may say."""

from pathlib import Path

import pytest

from orchestration.gate_config import GateConfig, StatisticRule
from orchestration.nights.config import NightlyConfig, example, read_nightly_config
from ser_model.schema import ConfigError

LEAST = """\
output: nights
model: emotion
corpora:
  - name: a
    source: corpus/manifest.csv
"""


def read(folder: Path, text: str) -> NightlyConfig:
    path = folder / "nightly.yaml"
    path.write_text(text, encoding="utf-8")
    return read_nightly_config(str(path))


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        LEAST
        + "    metadata: s3://bucket/m.csv\n    noise: /noise\n  - {name: b, source: ../b.csv}\n",
    )
    first, second = config.corpora
    assert config.output == str(tmp_path / "nights")
    assert first.source == str(tmp_path / "corpus" / "manifest.csv")
    assert (first.metadata, first.noise) == ("s3://bucket/m.csv", "/noise")
    assert second.source == str(tmp_path.parent / "b.csv")


def test_a_corpus_may_ask_other_things(tmp_path: Path) -> None:
    gate = "gate: {statistics: [{metric: accuracy, margin: 0.1}]}\n"
    config = read(tmp_path, LEAST + f"    {gate}  - {{name: b, source: b.csv}}\n")
    rule = StatisticRule(metric="accuracy", margin=0.1)
    assert config.gate_of(config.corpora[0]) == GateConfig(statistics=(rule,))
    assert config.gate_of(config.corpora[1]) is None
    config = read(tmp_path, LEAST + gate)
    assert config.gate_of(config.corpora[0]) == GateConfig(statistics=(rule,))


def test_workers_may_be_a_range(tmp_path: Path) -> None:
    assert read(tmp_path, LEAST).scoring.num_workers is None
    assert read(tmp_path, LEAST + "scoring: {workers: 2}").scoring.num_workers == 2
    config = read(tmp_path, LEAST + "scoring: {workers: 2, max_workers: 8}")
    assert config.scoring.num_workers == "2:8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: a\nmodel: b\ncorpora: []\n", r"corpora is empty: nothing would be scored"),
        (LEAST + "  - {name: a, source: b}\n", r"corpora has 'a' twice"),
        (LEAST + "  - {name: a/b, source: b}\n", r"line 6: corpora\[1\]: name is 'a/b'; allowed"),
        (LEAST + "    truth_range: 1-7\n", r"line 4: corpora\[0\]: .*'1-7'"),
        (LEAST + "    slices: ['sex,']\n", r"line 4: corpora\[0\]: --slice 'sex,' is not COLUMN"),
        (LEAST + "    split: tset\n", r"line 6: corpora\[0\]\.split is 'tset'; allowed are: train"),
        (LEAST + "scoring: {devices: gpu}\n", r"line 6: scoring\.devices is 'gpu'; allowed are"),
        (LEAST + "scoring: {max_rejected: 5}\n", r"must be of type float|max_rejected is 5.0"),
        (LEAST + "scoring: {max_workers: 2}\n", r"max_workers is 2; allowed are workers"),
        (LEAST + "scoring: {price_per_hour: -1.0}\n", r"price_per_hour is -1.0; allowed"),
        (LEAST + "audit: {replicates: 0}\n", r"line 6: audit: replicates is 0; allowed are 1"),
        (LEAST + "candidate: models:/a/1\n", r"candidate is 'models:/a/1'; allowed .*no URI"),
        (LEAST + "drift: {nights: 0}\n", r"line 6: drift: nights is 0; allowed are 1 and more"),
        (LEAST + "notify: {when: never}\n", r"line 6: notify\.when is 'never'; allowed are"),
        (LEAST + "gate: {statistics: [{metric: x, margin: 1.0}]}\n", r"line 6: .*metric is 'x'"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"nightly\.yaml, line \d+: .*|{message}") as raised:
        read(tmp_path, text)
    assert raised.match(message)


def test_the_example_is_a_configuration_and_names_every_field(tmp_path: Path) -> None:
    config = read(tmp_path, example())
    assert config.corpora[0].slices == ("sex", "sex,accent")
    assert config.notify.webhook_variable == "SERVAL_WEBHOOK"
    for fields in (NightlyConfig, type(config.corpora[0]), type(config.scoring)):
        assert all(f"{name}:" in example() for name in fields.__dataclass_fields__)
