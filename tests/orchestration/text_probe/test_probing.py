"""The probe from predictions to probe.json, with a model that hears words and one that does not."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration import scoring
from orchestration.committed import committed_files
from orchestration.text_probe import probing, synthetic_side
from orchestration.text_probe.probing import Probe, ProbeConfig, probe_text
from orchestration.text_probe.synthesis import NeutralVoice
from ser_model import storage
from ser_model.manifest import read_manifest
from ser_model.schema import (
    PROBE_SEGMENTS,
    STATISTICS,
    ConfigError,
    ManifestError,
    RunError,
    UnfinishedError,
)

pytestmark = pytest.mark.usefixtures("models")

WriteTable = Callable[[str, list[dict]], str]
Run = Callable[..., Probe]


@pytest.fixture
def probe(predictions: str, metadata: str, tmp_path: Path) -> Run:
    def run(
        *,
        model: str | None = "length",
        run_uri: str = predictions,
        metadata_uri: str = metadata,
        output: Path | str = tmp_path / "probe",
        **config: object,
    ) -> Probe:
        options = {"voice": NeutralVoice(), "num_replicates": 100, **config}
        return probe_text(
            run_uri,
            metadata_uri,
            str(output),
            config=ProbeConfig(**options),
            model_uri=model,
            devices="cpu",
            local=True,
        )

    return run


def value_of(probe: Probe, metric: str, condition: str, target: str = "valence") -> dict:
    (row,) = [
        row
        for row in probe["statistics"]
        if (row["target"], row["metric"], row["condition"]) == (target, metric, condition)
    ]
    return row


def test_who_hears_words_is_told_from_who_does_not(probe: Run, tmp_path: Path) -> None:
    hears = probe()
    deaf = probe(model="deaf", output=tmp_path / "deaf")
    for one in (hears, deaf):
        assert value_of(one, "concordance_cc", "clean")["value"] > 0.9
    assert value_of(hears, "concordance_cc", "synthetic")["ci_low"] > 0.6
    assert abs(value_of(deaf, "concordance_cc", "synthetic")["value"]) < 0.1
    assert value_of(deaf, "concordance_cc_gap", "synthetic-clean")["ci_high"] < -0.6
    assert "seems to use mostly the words" in hears["meaning"]
    assert "seems to use the words" not in deaf["meaning"]
    arousal = value_of(hears, "concordance_cc", "clean", "arousal")
    assert (arousal["value"], arousal["reason"]) == (None, "no variance")


def test_what_the_folder_holds(probe: Run, tmp_path: Path, rows: list[dict]) -> None:
    content = probe()
    folder = tmp_path / "probe"
    assert storage.read_json(str(folder / "probe.json")) == content
    segments = storage.read_table(str(folder / "segments.parquet"))
    assert segments.schema.equals(PROBE_SEGMENTS)
    assert len(segments) == len(rows)
    statistics = storage.read_table(str(folder / "probe.parquet"))
    assert statistics.schema.equals(STATISTICS)
    assert set(statistics["model_version"].to_pylist()) == {"length/1"}
    manifest = read_manifest(str(folder / "manifest.parquet"))
    assert len(manifest) == len(rows)
    recordings = {Path(uri) for uri in manifest["recording"].to_pylist()}
    assert recordings == set((folder / "speech").iterdir())
    assert content["synthetic"]["num_texts"] == len(recordings) == 5
    assert content["voice"]["rate_wpm"] == 175
    assert content["voice"]["espeakng_loader_version"]
    run = committed_files(str(folder / "run")).run
    assert run["counts"]["num_predictions"] == len(rows)
    assert run["identity"]["model_version"] == "length/1"


def test_counts_add_up_whatever_the_transcripts_hold(
    probe: Run, write: WriteTable, rows: list[dict]
) -> None:
    transcripts = {
        0: None,
        1: " \t",
        2: "a" * 100_000,
        3: "\u4f60\u597d",
        4: "...",
        5: "\x01\x02 Fine.\x00",
    }
    for number, transcript in transcripts.items():
        rows[number]["transcript"] = transcript
    rows[6] |= {"arousal": None, "dominance": None, "valence": None}
    content = probe(metadata_uri=write("odd.jsonl", rows[:-2]))
    counts = content["counts"]
    assert counts["segments"] == len(rows)
    assert counts["original"] == {
        "scored": len(rows) - 3,
        "missing": {"not_in_metadata": 2, "no_truth": 1},
    }
    assert counts["synthetic"] == {
        "scored": len(rows) - 8,
        "missing": {
            "not_in_metadata": 2,
            "no_transcript": 1,
            "empty_transcript": 1,
            "transcript_too_long": 1,
            "other_script": 1,
            "no_speech": 1,
            "no_truth": 1,
        },
    }
    assert counts["both"] == len(rows) - 8
    for side in ("original", "synthetic"):
        assert counts[side]["scored"] + sum(counts[side]["missing"].values()) == len(rows)


def test_speech_that_the_model_rejects_is_counted(
    probe: Run, write: WriteTable, rows: list[dict]
) -> None:
    # Few characters that take long to say: scoring rejects what is longer than five minutes.
    rows[0]["transcript"] = "7 " * 1_500
    content = probe(metadata_uri=write("long.jsonl", rows))
    assert content["counts"]["synthetic"]["missing"] == {"too_long": 1}
    assert value_of(content, "concordance_cc_gap", "synthetic-clean")["num_segments"] == (
        len(rows) - 1
    )


def test_a_probe_is_not_made_twice(probe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe()
    monkeypatch.setattr(synthetic_side, "score", None)
    assert probe() == first
    for change in ({"seed": 1}, {"voice": NeutralVoice(name="en")}, {"num_replicates": 50}):
        with pytest.raises(RunError, match="holds a probe of other predictions"):
            probe(**change)


def test_the_folder_may_be_anywhere(probe: Run, memory: str, tmp_path: Path) -> None:
    assert probe(output=f"{memory}/probe") == probe(output=tmp_path / "here")
    assert len(storage.list_names(f"{memory}/probe/speech")) == 5


def test_the_same_inputs_give_the_same_bytes(probe: Run, tmp_path: Path) -> None:
    for name in ("first", "second"):
        probe(output=tmp_path / name)
    for name in ("probe.json", "probe.parquet", "segments.parquet", "manifest.parquet"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second


def test_a_probe_that_was_cut_short_goes_on(
    probe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*args: object, **options: object) -> None:
        raise OSError("the lights went out")

    with monkeypatch.context() as dark:
        dark.setattr(synthetic_side, "score", cut_off)
        with pytest.raises(UnfinishedError, match="run the same command again"):
            probe()
    assert not (tmp_path / "probe" / "probe.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "probe/speech").iterdir()}
    assert len(before) == 5
    resumed = probe()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert resumed == probe(output=tmp_path / "at once")


def test_the_runs_own_model_and_another(
    probe: Run, metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe()
    # The synthetic run of one probe serves as an original run here: it knows its model.
    run = str(tmp_path / "probe" / "run")
    content = probe(run_uri=run, model=None, output=tmp_path / "own")
    assert content["model"]["uri"] == "length"
    assert value_of(content, "concordance_cc_gap", "synthetic-clean")["value"] == 0
    with pytest.raises(RunError, match="compares one model with itself"):
        probe(run_uri=run, model="deaf", output=tmp_path / "other")


def test_predictions_from_elsewhere_need_the_model(probe: Run) -> None:
    with pytest.raises(ConfigError, match="--model"):
        probe(model=None)


def test_metadata_without_transcripts(probe: Run, write: WriteTable, rows: list[dict]) -> None:
    without = [{k: v for k, v in row.items() if k != "transcript"} for row in rows]
    with pytest.raises(ManifestError, match=r"bare.jsonl has no column 'transcript'"):
        probe(metadata_uri=write("bare.jsonl", without))
    empty = [row | {"transcript": ""} for row in rows]
    with pytest.raises(ManifestError, match="can be spoken: 30 empty_transcript"):
        probe(metadata_uri=write("empty.jsonl", empty))


def test_a_missing_extra_is_named_before_anything_is_written(
    probe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ConfigError, match=r"pip install .*'serval\[probe\]'"):
        probe()
    assert not (tmp_path / "probe").exists()


def test_other_languages_are_warned_of(probe: Run, write: WriteTable, rows: list[dict]) -> None:
    for number, row in enumerate(rows):
        row["language"] = ["de", "en-GB", None][number % 3]
    content = probe(metadata_uri=write("languages.jsonl", rows))
    assert [note for note in content["notes"] if "10 de" in note and "--voice" in note]
    assert [note for note in content["notes"] if "10 de" in note and "VADER" in note]
    assert [note for note in content["notes"] if "30 segments share 5 transcripts" in note]


def test_without_the_lexicon_the_probe_says_so(probe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "find_sentiment", lambda *args: None)
    content = probe()
    assert content["sentiment"] is None
    assert not [row for row in content["statistics"] if "sentiment" in row["metric"]]
    assert [note for note in content["notes"] if "serval[probe]" in note]


def test_a_sentiment_column_that_the_model_follows(
    probe: Run, write: WriteTable, rows: list[dict]
) -> None:
    # On synthetic speech the model says the length of the text, and so does this sentiment.
    for row in rows:
        row["letters"] = len(row["transcript"])
    content = probe(metadata_uri=write("letters.jsonl", rows), sentiment="letters")
    assert content["sentiment"]["column"] == "letters"
    assert value_of(content, "sentiment_partial_cc", "synthetic")["value"] > 0.5


def test_replicates_must_be_some() -> None:
    with pytest.raises(ConfigError, match="--replicates 0"):
        ProbeConfig(voice=NeutralVoice(), num_replicates=0)


def test_probe_json_is_plain_json(probe: Run) -> None:
    content = probe()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert scoring.resolve_model is probing.resolve_model  # the fixture reached both
