"""``serval demo --quick`` is killed while it scores, and run again, and again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from orchestration.committed import committed_files
from orchestration.demo.corpus import quick_corpus
from ser_model import storage
from ser_model.augment import SETS, NoiseFolder, conditions
from ser_model.schema import CLEAN

HEAVY = ("torch", "ray", "apache_beam", "mlflow", "soundfile", "espeakng_loader")
COMMAND = f"""
import sys
from orchestration.cli import main
exit_code = main(sys.argv[1:])
print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
sys.exit(exit_code)
"""
NUM_TEST_SEGMENTS = 6 * 2 * 6
CONDITIONS = {CLEAN, *(f"white-noise-{snr_db}db" for snr_db in (30, 25, 20, 15, 10, 5, 0))}


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            COMMAND,
            "demo",
            "--quick",
            "--json",
            "--dir",
            str(folder),
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder.parent,
    )


def finish(folder: Path, *options: str) -> tuple[dict, str]:
    """Run the demo to its end; return what it printed on stdout and stderr."""
    process = start(folder, *options)
    out, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    return json.loads(out), errors


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo that died of SIGKILL when its run had begun."""
    folder = tmp_path_factory.mktemp("demo") / "serval-demo"
    process = start(folder)
    try:
        deadline = time.monotonic() + 250
        while not (folder / "run" / "run.json").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (folder / "steps" / "3-score.json").exists()
    yield folder


@pytest.mark.timeout(600)
def test_a_killed_demo_ends_as_if_it_had_not_been(killed: Path) -> None:
    summary, errors = finish(killed)
    assert errors.count("done before") == 2
    assert summary["num_segments"] == sum(quick_corpus(0).num_speakers.values()) * 6 * 6
    assert summary["num_predictions"] == NUM_TEST_SEGMENTS * len(CONDITIONS)
    assert summary["num_rejections"] == 0
    committed = committed_files(str(killed / "run"))
    rows = Counter(
        (row["segment_id"], row["condition"])
        for uri in committed.predictions
        for row in storage.read_table(uri).select(["segment_id", "condition"]).to_pylist()
    )
    assert len({segment_id for segment_id, _ in rows}) == NUM_TEST_SEGMENTS
    assert {condition for _, condition in rows} == CONDITIONS
    assert len(rows) == NUM_TEST_SEGMENTS * len(CONDITIONS)
    assert set(rows.values()) == {1}
    assert set(summary["concordance_cc"]) == {"arousal", "dominance", "valence"}
    assert summary["planted_gap"]["slice"] == "accent=scottish-rest"
    report = (killed / "report.html").read_text()
    assert "The speech in this corpus is synthetic" in report
    assert "accent=scottish" in report

    again, errors = finish(killed)
    assert errors.count("done before") == 6
    assert errors.splitlines()[-1].split() == []  # nothing heavy was loaded
    assert {**again, "wall_s": 0} == {**summary, "wall_s": 0}


def test_the_audit_and_the_report_say_what_noise_does(killed: Path) -> None:
    summary, _ = finish(killed)
    statistics = storage.read_table(str(killed / "audit" / "statistics.parquet")).to_pylist()
    overall = [row for row in statistics if row["slice_by"] == "" and row["target"] == "arousal"]
    scored = {row["condition"] for row in overall if row["metric"] == "concordance_cc"}
    assert scored == CONDITIONS
    breaks = {
        row["target"]: row["value"]
        for row in statistics
        if row["metric"] == "concordance_cc_break_point"
        and row["slice"] == "condition=white-noise-*db"
    }
    found = summary["robustness"]["break_points"]
    assert {target: row["value"] for target, row in found.items()} == breaks
    assert set(breaks) == {"arousal", "dominance", "valence"}
    report = (killed / "report.html").read_text()
    assert "CCC of arousal over white-noise-*db" in report
    assert "Whom conditions change more" in report


def test_the_demos_noises_serve_every_condition(killed: Path) -> None:
    finish(killed)
    chosen = conditions(list(SETS), NoiseFolder.open(str(killed / "noise")))
    assert sum(condition.needs_noise for condition in chosen) > 10


def test_everything_stays_in_the_demo_folder(killed: Path) -> None:
    assert [path.name for path in killed.parent.iterdir()] == ["serval-demo"]
    assert (killed / "mlflow.db").is_file()


def test_the_manifest_of_the_quick_corpus_is_what_was_scored(killed: Path) -> None:
    packed = storage.read_table(str(killed / "shards" / "manifest.parquet"))
    assert pc.unique(packed["split"]).to_pylist() == ["test"]


def test_another_seed_does_not_mix_into_the_folder(killed: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "demo", "--seed", "1", "--dir", str(killed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "holds another demo (quick True, seed 0" in result.stderr
    assert "choose another --dir" in result.stderr


@pytest.mark.slow  # tests/orchestration/demo and test_text_training.py test its parts
@pytest.mark.timeout(600)
def test_a_demo_goes_on_with_models_that_read(killed: Path) -> None:
    alone, _ = finish(killed)
    summary, errors = finish(killed, "--with-text")
    assert errors.count("done before") == 6
    with_text = summary.pop("with_text")
    assert {**summary, "wall_s": 0} == {**alone, "wall_s": 0}
    rows = {(row["model"], row["target"], row["slice"]): row for row in with_text["concordance_cc"]}
    assert {model for model, _, _ in rows} == {"audio", "text", "fusion"}
    for row in rows.values():
        if row["slice"] == "":
            assert row["num_segments"] == NUM_TEST_SEGMENTS
    audio = rows["audio", "valence", ""]["value"]
    assert audio == pytest.approx(alone["concordance_cc"]["valence"]["value"])
    fusion = rows["fusion", "valence", ""]["value"]
    gain = with_text["valence_fusion_minus_audio"]["all sentences"]
    assert gain["value"] == pytest.approx(fusion - audio)
    assert "The speech in this corpus is synthetic" in Path(with_text["report"]).read_text()

    again, errors = finish(killed, "--with-text")
    assert errors.count("done before") == 12
    assert errors.splitlines()[-1].split() == []  # nothing heavy was loaded
    assert again["with_text"] == with_text
    assert finish(killed)[0].keys() == alone.keys()
