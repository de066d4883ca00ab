"""Which runs are audited under which name, what is sliced by, and that nothing is done twice."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.auditing import audit_runs, parse_slice
from orchestration.commits import RunIdentity
from orchestration.ledger import Ledger
from pipelines.audit_config import CROSS_CORPUS_MARGINS
from ser_model import storage
from ser_model.schema import CLEAN, ConfigError, ManifestError, Prediction, RunError

IDS = [f"segment {number:02}" for number in range(40)]
IDENTITY = RunIdentity(
    model_uri="models:/demo/1",
    model_version="1",
    weights_sha256="abc",
    dtype="float32",
    embeddings=False,
    num_threads=1,
    source_sha256="def",
    num_segments=len(IDS),
    num_shards=1,
)


def write_metadata(folder: Path) -> str:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "segment_id": IDS,
            "speaker_id": [f"speaker {number % 8}" for number in range(40)],
            "sex": ["female", "male"] * 20,
            "room": ["small", "large", "large", "small"] * 10,
            "arousal": random.uniform(0, 1, 40),
            "dominance": random.uniform(0, 1, 40),
            "valence": random.uniform(0, 1, 40),
        }
    )
    pq.write_table(table, folder / "metadata.parquet")
    return str(folder / "metadata.parquet")


def write_run(folder: Path, *, is_complete: bool = True, **changes: str) -> str:
    ledger = Ledger(str(folder), dataclasses.replace(IDENTITY, **changes))
    ledger.start({"source": "manifest.csv"})
    random = np.random.default_rng(len(changes))
    outcomes = [
        Prediction(
            segment_id=segment_id,
            condition=CLEAN,
            duration_s=1.0,
            dimensions=tuple(random.uniform(0, 1, 3).tolist()),
        )
        for segment_id in IDS
    ]
    ledger.commit(condition=CLEAN, shard=0, attempt="a", segment_ids=IDS, outcomes=outcomes)
    if is_complete:
        ledger.complete([len(IDS)], [CLEAN])
    return str(folder)


@pytest.fixture
def metadata(tmp_path):
    return write_metadata(tmp_path)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


class Recorded(Exception):  # noqa: N818  it is no error
    """Thrown in the place of the pipeline; holds what it was asked for."""


@pytest.fixture
def asked(monkeypatch):
    """Call audit_runs, and return what it asks of the pipeline."""

    def record(predictions, metadata, output, **options):
        raise Recorded(predictions, options)

    def call(*args, **options):
        with pytest.raises(Recorded) as caught:
            audit_runs(*args, **options)
        return caught.value.args

    monkeypatch.setattr("pipelines.audit.audit", record)
    return call


def test_a_run_is_audited_and_not_twice(tmp_path, metadata, run, monkeypatch):
    output = str(tmp_path / "audit")
    first = audit_runs([run], metadata, output, num_replicates=20, provenance={"corpus": "ours"})
    assert {row["slice_by"] for row in first.statistics.to_pylist()} == {"", "sex"}
    assert first.audit["corpus"] == "ours"
    (about,) = first.audit["runs"]
    assert about["identity"]["weights_sha256"] == "abc"
    assert first.audit["ledger"]["models"][0]["matched"] == 40

    monkeypatch.setattr("pipelines.audit.audit", None)  # calling it would fail
    again = audit_runs([run], metadata, output, num_replicates=20)
    assert again.audit == first.audit
    assert again.statistics == first.statistics

    with pytest.raises(RunError, match="holds an audit of other runs, metadata or options"):
        audit_runs([run], metadata, output, num_replicates=20, seed=1)


def test_sex_and_accent_are_sliced_by_where_they_exist(tmp_path, metadata, run, asked):
    _, options = asked([run], metadata, str(tmp_path / "audit"))
    assert options["config"].slices == (("sex",),)


def test_slices_that_are_asked_for(tmp_path, metadata, run, asked):
    slices = [("room",), ("sex", "room"), ("room",)]
    _, options = asked([run], metadata, str(tmp_path / "audit"), slices=slices)
    assert options["config"].slices == (("room",), ("sex", "room"))
    _, options = asked([run], metadata, str(tmp_path / "audit"), slices=[])
    assert options["config"].slices == ()


def test_strata_are_no_slices(tmp_path, metadata, run, asked):
    strata = [("room",), ("sex",)]
    _, options = asked([run], metadata, str(tmp_path / "audit"), strata=strata)
    assert (options["config"].slices, options["config"].strata) == ((("sex",),), (("room",),))
    with pytest.raises(ConfigError, match="cannot slice by 'act'"):
        audit_runs([run], metadata, str(tmp_path / "audit"), strata=[("act",)])


def test_other_margins_are_another_audit(tmp_path, metadata, run, asked):
    hashes = set()
    for changed in ({}, {"margins": {"bias": 0.1}}, {"margins_from": "permutation"}):
        _, options = asked([run], metadata, str(tmp_path / "audit"), **changed)
        hashes.add(options["provenance"]["inputs_sha256"])
    assert len(hashes) == 3


def test_a_column_that_does_not_exist(tmp_path, metadata, run):
    with pytest.raises(
        ConfigError, match=r"cannot slice by 'accent': .* has the columns segment_id"
    ):
        audit_runs([run], metadata, str(tmp_path / "audit"), slices=[("accent",)])


def test_models_of_the_same_version_are_told_apart_by_their_uri(tmp_path, metadata, run, asked):
    other = write_run(tmp_path / "b", model_uri="models:/large/1", weights_sha256="def")
    third = write_run(tmp_path / "c", model_uri="models:/demo/2", model_version="2")
    files, _ = asked([run, other, third], metadata, str(tmp_path / "audit"))
    assert [file.model_version for file in files] == ["models:/demo/1", "models:/large/1", "2"]


def test_one_uri_with_two_weights_is_refused(tmp_path, metadata, run):
    other = write_run(tmp_path / "b", weights_sha256="def")
    with pytest.raises(RunError, match="two models with different weights are both called"):
        audit_runs([run, other], metadata, str(tmp_path / "audit"))


def test_files_of_other_tools_name_themselves(tmp_path, metadata, run, asked):
    file = tmp_path / "svm.csv"
    file.write_text("segment_id,arousal\nsegment 00,.5\n")
    files, options = asked([str(file), run], metadata, str(tmp_path / "audit"))
    assert [(f.uri, f.model_version) for f in files] == [
        (str(file), None),
        (files[1].uri, "1"),
    ]
    assert options["provenance"]["runs"][0]["uri"] == str(file)


def test_changed_predictions_are_another_audit(tmp_path, metadata, asked):
    file = tmp_path / "svm.csv"
    hashes = set()
    for score in (".5", ".6"):
        file.write_text(f"segment_id,arousal\nsegment 00,{score}\n")
        _, options = asked([str(file)], metadata, str(tmp_path / "audit"))
        hashes.add(options["provenance"]["inputs_sha256"])
    assert len(hashes) == 2


def test_a_run_that_is_not_complete(tmp_path, metadata):
    run = write_run(tmp_path / "open", is_complete=False)
    with pytest.raises(RunError, match="is not complete"):
        audit_runs([run], metadata, str(tmp_path / "audit"))


def test_what_does_not_exist(tmp_path, metadata, run):
    output = str(tmp_path / "audit")
    with pytest.raises(RunError, match="is no run"):
        audit_runs([str(tmp_path / "nowhere")], metadata, output)
    with pytest.raises(RunError, match=r"nothing\.csv does not exist"):
        audit_runs([str(tmp_path / "nothing.csv")], metadata, output)
    with pytest.raises(ManifestError, match=r"no\.csv does not exist"):
        audit_runs([run], str(tmp_path / "no.csv"), output)


def test_a_damaged_audit_is_not_overwritten(tmp_path, metadata, run):
    storage.write_atomic(str(tmp_path / "audit" / "audit.json"), b"{")
    with pytest.raises(RunError, match="is damaged"):
        audit_runs([run], metadata, str(tmp_path / "audit"))


@pytest.mark.parametrize("text", ["", "sex,", "sex,sex", " , "])
def test_slices_that_are_none(text):
    with pytest.raises(ConfigError, match="is not COLUMN or COLUMN,COLUMN"):
        parse_slice(text)


def write_training(folder: Path, text: str) -> str:
    (folder / "training.csv").write_text(text)
    return str(folder / "training.csv")


def test_speakers_of_the_training_are_counted(tmp_path, metadata, run):
    """Of the split train only; a second manifest would be another audit."""
    rows = "a,speaker 1,train\nb,speaker 2,train\nc,speaker 3,dev\nd,,train\ne,elsewhere,train\n"
    training = write_training(tmp_path, "segment_id,speaker_id,split\n" + rows)
    output = str(tmp_path / "audit")
    found = audit_runs([run], metadata, output, num_replicates=5, training=training)
    (counts,) = found.audit["ledger"]["models"]
    assert (counts["training_speakers"], counts["matched_of_training_speakers"]) == (2, 10)
    assert found.audit["training"]["num_speakers"] == 3
    assert "10 segments are of 2 speakers that the training has too" in " ".join(
        found.audit["notes"]
    )
    write_training(tmp_path, "segment_id,speaker_id\na,somebody\n")
    with pytest.raises(RunError, match="holds an audit of other runs"):
        audit_runs([run], metadata, output, num_replicates=5, training=training)
    again = audit_runs([run], metadata, output + "2", num_replicates=5, training=training)
    (counts,) = again.audit["ledger"]["models"]
    assert (counts["training_speakers"], counts["matched_of_training_speakers"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("segment_id\na\n", "has no column 'speaker_id'"),
        ("segment_id,speaker_id,split\na,x,dev\n", "names no speaker of the split 'train'"),
    ],
)
def test_a_training_without_speakers_is_refused(tmp_path, metadata, run, text, problem):
    training = write_training(tmp_path, text)
    with pytest.raises(ManifestError, match=problem):
        audit_runs([run], metadata, str(tmp_path / "audit"), training=training)
    with pytest.raises(ManifestError, match=r"nowhere\.csv does not exist"):
        audit_runs([run], metadata, str(tmp_path / "audit"), training="nowhere.csv")


def write_permuted(folder: Path) -> str:
    """A good model, whose file has arousal and valence the wrong way round."""
    table = pq.read_table(folder / "metadata.parquet")
    random = np.random.default_rng(0)
    names = {"arousal": "valence", "dominance": "dominance", "valence": "arousal"}
    columns = {n: table[d].to_numpy() + random.normal(0, 0.05, 40) for n, d in names.items()}
    pq.write_table(pa.table({"segment_id": IDS, **columns}), folder / "permuted.parquet")
    return str(folder / "permuted.parquet")


def test_permuted_dimensions_end_the_audit_unless_they_are_kept(tmp_path, metadata):
    file, output = write_permuted(tmp_path), str(tmp_path / "audit")
    with pytest.raises(
        RunError, match=r"permuted, clean: .* its valence fits the truth of arousal"
    ):
        audit_runs([file], metadata, output, num_replicates=5)
    assert not Path(output, "audit.json").exists()
    kept = audit_runs([file], metadata, output, num_replicates=5, keep_dimension_order=True)
    assert "seem to stand in another order" in " ".join(kept.audit["notes"])


def test_predictions_on_another_scale_are_mapped(tmp_path, metadata):
    table = pq.read_table(metadata)
    for name, low, high in (("unit", 0, 1), ("wide", -3, 3)):
        # Off by what lies inside a bin of residuals, so that rounding moves none to the next.
        off = {"arousal": 0.103, "valence": 0.007}
        said = {d: low + (high - low) * (table[d].to_numpy() + off[d]) for d in off}
        pq.write_table(pa.table({"segment_id": IDS, **said}), tmp_path / f"{name}.parquet")
    values = []
    for name, scale in (("unit", (0.0, 1.0)), ("wide", (-3.0, 3.0))):
        found = audit_runs(
            [str(tmp_path / f"{name}.parquet")],
            metadata,
            str(tmp_path / name),
            num_replicates=5,
            prediction_range=scale,
        )
        assert found.audit["ledger"]["models"][0]["arousal_prediction_out_of_range"] == sum(
            value > 1 - 0.103 for value in table["arousal"].to_pylist()
        )
        values.append([row["value"] for row in found.statistics.to_pylist()])
    assert values[0] == pytest.approx(values[1], abs=1e-9, nan_ok=True)


def test_systems_are_written_and_unknown_versions_refused(tmp_path, metadata, run):
    others = [write_run(tmp_path / name, model_version=name, weights_sha256=name) for name in "bcd"]
    systems = {"first": ("1", "b"), "second": ("c", "d")}
    output = str(tmp_path / "audit")
    with pytest.raises(ConfigError, match="no run has the model version 'x'"):
        audit_runs([run], metadata, output, num_replicates=5, systems={"a": ("1", "x")})
    found = audit_runs([run, *others], metadata, output, num_replicates=5, systems=systems)
    rows = pq.read_table(tmp_path / "audit" / "systems.parquet").to_pylist()
    assert {(row["system"], row["other_system"]) for row in rows} == {
        ("first", None),
        ("second", None),
        ("first", "second"),
    }
    assert {row["metric"] for row in found.audit["systems"]} == {"concordance_cc", "pearson_cc"}


def test_across_corpora_pcc_is_judged(tmp_path, metadata, run, asked):
    _, options = asked([run], metadata, str(tmp_path / "audit"), cross_corpus=True)
    assert options["config"].margins == CROSS_CORPUS_MARGINS
    assert options["config"].to_json()["cross_corpus"] is True


def test_the_hashes_of_all_that_went_in_stand_in_the_audit(tmp_path, metadata, run, asked):
    file = tmp_path / "svm.csv"
    file.write_text("segment_id,arousal\nsegment 00,.5\n")
    training = write_training(tmp_path, "segment_id,speaker_id\na,somebody\n")
    inputs = ([run, str(file)], metadata, str(tmp_path / "audit"))
    _, options = asked(*inputs, training=training)
    provenance = options["provenance"]

    def sha256(path):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    of_run, of_file = provenance["runs"]
    assert of_run["identity"]["weights_sha256"] == "abc"
    assert of_run["content_sha256"] == storage.read_json(f"{run}/run.json")["content_sha256"]
    assert of_file["sha256"] == sha256(file)
    assert provenance["metadata"]["sha256"] == sha256(metadata)
    assert provenance["training"]["sha256"] == sha256(training)
