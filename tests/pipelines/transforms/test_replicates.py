"""What an audit keeps for a gate, against replicates and sets that are written out."""

import audmetric
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.audit import audit
from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.reading import PredictionFile
from pipelines.transforms.replicates import KEPT_METRICS, MAX_KEPT_SLICES
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.schema import DIMENSIONS

NUM_REPLICATES = 12


@pytest.fixture(scope="module")
def audited(corpus, tmp_path_factory):
    return audit(
        [PredictionFile(uri=uri) for uri in corpus.files],
        corpus.metadata,
        str(tmp_path_factory.mktemp("audit")),
        config=AuditConfig(
            slices=(("accent",), ("sex",)),
            num_replicates=NUM_REPLICATES,
            minimums=Minimums(segments=1, speakers=9),
        ),
        provenance={},
    )


def rows_of(audited, table="replicates", **wanted):
    rows = pq.read_table(f"{audited.output}/{table}.parquet").to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def written_out(corpus, is_wanted, dimension):
    """CCC of as many copies of each segment as its speaker is drawn, by audmetric."""
    truth, said = corpus.truth[dimension], corpus.prediction[dimension]
    is_scored = np.isfinite(truth) & np.isfinite(said) & (np.arange(len(truth)) < 380)
    rows = np.flatnonzero(is_scored & is_wanted)
    speakers = ["(missing)" if name is None else name for name in corpus.speaker[rows]]
    weights = poisson_weights(speaker_keys(speakers), seed=0, num_replicates=NUM_REPLICATES)
    copies = [np.repeat(rows, drawn) for drawn in weights]
    return [audmetric.concordance_cc(truth[drawn], said[drawn]) for drawn in copies]


@pytest.mark.parametrize("dimension", ["arousal", "valence"])
def test_replicates_of_a_slice_and_of_its_rest_are_those_written_out(strict_to, dimension):
    corpus, audited = strict_to
    for is_rest in (False, True):
        is_wanted = (corpus.accent == "scottish") ^ is_rest
        (row,) = rows_of(
            audited,
            model_version="w2v",
            condition="clean",
            slice="accent=scottish",
            is_rest=is_rest,
            target=dimension,
            metric="concordance_cc",
        )
        assert row["replicates"] == pytest.approx(
            written_out(corpus, is_wanted, dimension), abs=1e-6
        )


@pytest.fixture(scope="module")
def strict_to(corpus, tmp_path_factory):
    """Nothing suppressed."""
    found = audit(
        [PredictionFile(uri=uri) for uri in corpus.files],
        corpus.metadata,
        str(tmp_path_factory.mktemp("all")),
        config=AuditConfig(
            slices=(("accent",), ("sex",)),
            num_replicates=NUM_REPLICATES,
            minimums=Minimums(segments=1, speakers=1),
        ),
        provenance={},
    )
    return corpus, found


def test_values_are_those_of_the_statistics(strict_to):
    _, audited = strict_to
    statistics = {
        tuple(row[name] for name in ("model_version", "condition", "slice", "target", "metric")): (
            row["value"],
            row["num_segments"],
        )
        for row in audited.statistics.to_pylist()
    }
    kept = rows_of(audited, is_rest=False)
    assert {row["metric"] for row in kept} == set(KEPT_METRICS)
    for row in kept:
        key = tuple(
            row[name] for name in ("model_version", "condition", "slice", "target", "metric")
        )
        assert statistics[key] == (row["value"], row["num_segments"])
        assert len(row["replicates"]) == NUM_REPLICATES


def test_two_slices_have_no_rest_and_what_lacks_a_value_is_compared_with_nothing(strict_to):
    _, audited = strict_to
    assert {row["slice"] for row in rows_of(audited, slice_by="sex", is_rest=True)} == set()
    assert "sex=(missing)" in {row["slice"] for row in rows_of(audited, slice_by="sex")}


def test_exactly_the_slices_that_are_not_suppressed_are_kept(audited):
    names = ("model_version", "condition", "slice", "target", "metric")
    found = {True: set(), False: set()}
    for row in audited.statistics.to_pylist():
        if row["metric"] in KEPT_METRICS and not row["slice_by"].startswith("condition"):
            key = tuple(row[name] for name in names)
            found[row["verdict"] == "suppressed"].add(key)
    assert {tuple(row[name] for name in names) for row in rows_of(audited, is_rest=False)} == (
        found[False]
    )
    assert {key[2] for key in found[True]} & {"accent=scottish", "sex=male"}


def test_columns_of_very_many_slices_are_left_out(corpus, tmp_path):
    found = audit(
        [PredictionFile(uri=uri) for uri in corpus.files[:1]],
        corpus.metadata,
        str(tmp_path),
        config=AuditConfig(
            slices=(("speaker_id",),),
            num_replicates=2,
            minimums=Minimums(segments=1, speakers=1),
        ),
        provenance={},
    )
    assert len(set(corpus.speaker)) > MAX_KEPT_SLICES
    assert {row["slice_by"] for row in rows_of(found)} == {""}


def test_sketches_count_what_the_ledger_says_was_scored(strict_to):
    _, audited = strict_to
    for counts in audited.audit["ledger"]["models"]:
        rows = rows_of(
            audited,
            "sketches",
            model_version=counts["model_version"],
            condition=counts["condition"],
        )
        found = {row["target"]: row["num_segments"] for row in rows}
        scored = {target: counts[f"{target}_scored"] for target in (*DIMENSIONS, "emotion")}
        assert found == {target: number for target, number in scored.items() if number}
        assert all(len(row["smallest"]) == row["num_segments"] for row in rows)


def test_the_same_segments_have_the_same_fingerprint(strict_to):
    _, audited = strict_to
    rows = rows_of(audited, "sketches", model_version="w2v", condition="clean")
    prints = {row["target"]: row["fingerprint"] for row in rows}
    assert prints["arousal"] == prints["dominance"] != prints["valence"]
