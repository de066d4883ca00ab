"""Sampled embeddings: which, from where, and what their neighbours say."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import NearestNeighbors

from pipelines.audit import audit
from pipelines.transforms import embeddings
from pipelines.transforms.embeddings import merge_samples, read_embeddings, sample_partition
from pipelines.transforms.projecting import ATTRIBUTES, EMBEDDED_ROWS, project, project_model
from pipelines.transforms.reading import LEDGER, PredictionFile
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.intervals import Scale, effective_speakers, speaker_interval
from ser_model.schema import EMBEDDING, RunError

LENGTH = 6
MAP = ATTRIBUTES.type


def vectors(corpus, seed=3):
    """Embeddings that know the sex and the truth of arousal, and nothing else."""
    random = np.random.default_rng(seed)
    found = random.normal(0, 0.5, (len(corpus.ids), LENGTH))
    found[:, 0] += 4.0 * (corpus.sex == "male")
    found[:, 1] += 8.0 * corpus.truth["arousal"]
    return found.astype(np.float32)


def write_run(corpus, path, rows, version="wide", row_group_size=None, length=LENGTH, **columns):
    """Predictions of some segments with their embeddings, as a run holds them."""
    table = pa.table(
        {
            "segment_id": corpus.ids[rows],
            "condition": ["clean"] * len(rows),
            "arousal": pa.array(corpus.prediction["arousal"][rows], pa.float32()),
            "embedding": pa.array(vectors(corpus)[rows, :length].tolist(), EMBEDDING.type),
            **columns,
        }
    )
    pq.write_table(table, path, row_group_size=row_group_size)
    return PredictionFile(uri=str(path), model_version=version, has_embeddings=True)


def run_audit(corpus, files, output, beam_options=()):
    audit(
        files,
        corpus.metadata,
        str(output),
        config=corpus.config,
        beam_options=beam_options,
        provenance={},
    )
    return pq.read_table(Path(output, "embeddings.parquet")).to_pylist()


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory):
    """Model "wide" in two files, shuffled, with three rows twice; segments 0-349."""
    folder = tmp_path_factory.mktemp("embeddings")
    order = np.random.default_rng(7).permutation(350)
    return [
        write_run(corpus, folder / "a.parquet", order[:200], row_group_size=64),
        write_run(corpus, folder / "b.parquet", np.append(order[200:], order[:3])),
    ]


@pytest.fixture(scope="module")
def audited(corpus, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    run_audit(corpus, files, folder)
    return folder


def statistics_of(folder, target, metric):
    rows = pq.read_table(folder / "statistics.parquet").to_pylist()
    (row,) = [row for row in rows if (row["target"], row["metric"]) == (target, metric)]
    return row


def test_every_segment_is_there_once_with_what_is_known_of_it(corpus, audited):
    table = pq.read_table(audited / "embeddings.parquet")
    assert table.schema == EMBEDDED_ROWS
    rows = {row["segment_id"]: row for row in table.to_pylist()}
    assert table.num_rows == len(rows) == 350
    for number in (0, 3, 12, 200, 349):
        row = rows[corpus.ids[number]]
        assert (row["model_version"], row["condition"]) == ("wide", "clean")
        assert row["speaker_id"] == corpus.speaker[number] or corpus.speaker[number] is None
        assert row["truth_arousal"] == corpus.truth["arousal"][number]
        assert row["prediction_arousal"] == corpus.prediction["arousal"][number]
        assert row["truth_emotion"] == corpus.truth["emotion"][number]
        known = {"sex": corpus.sex[number], "accent": corpus.accent[number]}
        assert dict(row["attributes"]) == {k: v for k, v in known.items() if v is not None}
    positions = np.array([[row["x"], row["y"]] for row in rows.values()])
    assert np.isfinite(positions).all()
    assert len(np.unique(positions, axis=0)) == 350


def test_the_picture_keeps_neighbours_together(corpus, audited):
    """Of ten neighbours in the picture more share the sex than by chance: 4 of 0.5 are a gulf."""
    rows = pq.read_table(audited / "embeddings.parquet").to_pylist()
    positions = np.array([[row["x"], row["y"]] for row in rows])
    sexes = np.array([dict(row["attributes"]).get("sex") for row in rows])
    near = NearestNeighbors(n_neighbors=11).fit(positions).kneighbors(positions)[1][:, 1:]
    known = sexes != None  # noqa: E711  element by element
    assert (sexes[near] == sexes[:, None])[known].mean() > 0.9


def shares_by_hand(corpus, column, numbers):
    """Shares of ten neighbours of other speakers, each from a search among just those."""
    speaker = np.array([name or "(missing)" for name in corpus.speaker], dtype=object)
    numbers = [n for n in numbers if getattr(corpus, column)[n] is not None]
    values, speakers = getattr(corpus, column)[numbers], speaker[numbers]
    points = vectors(corpus).astype(np.float64)[numbers]
    shares, chances = [], []
    for at in range(len(numbers)):
        others = np.flatnonzero(
            speakers != speakers[at] if column != "speaker" else np.arange(len(numbers)) != at
        )
        search = NearestNeighbors(n_neighbors=10).fit(points[others])
        near = others[search.kneighbors(points[[at]])[1][0]]
        shares.append(np.mean(values[near] == values[at]))
        chances.append(np.mean(values[others] == values[at]))
    return np.array(shares), np.array(chances), speakers


@pytest.mark.parametrize(
    ("column", "name"), [("sex", "sex"), ("accent", "accent"), ("speaker", "speaker_id")]
)
def test_shares_of_neighbours_are_those_of_a_search_among_other_speakers(
    corpus, audited, column, name
):
    shares, chances, speakers = shares_by_hand(corpus, column, range(350))
    row = statistics_of(audited, "embedding", f"neighbour_share[{name}]")
    assert row["value"] == pytest.approx(shares.mean(), abs=1e-9)
    assert row["num_segments"] == len(shares)
    assert row["num_speakers"] == len(set(speakers))
    by_chance = statistics_of(audited, "embedding", f"neighbour_share_by_chance[{name}]")
    assert by_chance["value"] == pytest.approx(chances.mean(), abs=1e-9)


def test_the_interval_is_that_of_replicates_of_segments(corpus, audited):
    """The bootstrap once more, from the rows of segments instead of sums of speakers."""
    shares, _, speakers = shares_by_hand(corpus, "sex", range(350))
    row = statistics_of(audited, "embedding", "neighbour_share[sex]")
    config = corpus.config
    # A speaker without a sex has no share, and draws of the others do not depend on that.
    weights = poisson_weights(
        speaker_keys(speakers.tolist()), seed=config.seed, num_replicates=config.num_replicates
    ).astype(float)
    counts = np.append(len(shares), weights.sum(axis=1))
    values = np.append(shares.mean(), (weights @ shares) / weights.sum(axis=1))
    effective = effective_speakers(counts, len(set(speakers)))
    low, high = speaker_interval(values, effective, Scale.SHARE)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_the_truth_is_read_from_neighbours_where_it_is_there(corpus, audited):
    speaker = np.array([name or "(missing)" for name in corpus.speaker], dtype=object)[:350]
    points, truth = vectors(corpus).astype(np.float64)[:350], corpus.truth["arousal"][:350]
    means = []
    for at in range(350):
        others = np.flatnonzero(speaker != speaker[at])
        search = NearestNeighbors(n_neighbors=10).fit(points[others])
        means.append(truth[others[search.kneighbors(points[[at]])[1][0]]].mean())
    row = statistics_of(audited, "arousal", "neighbour_pearson_cc")
    assert row["value"] == pytest.approx(np.corrcoef(truth, means)[0, 1], abs=1e-9)
    assert row["value"] > 0.8
    assert abs(statistics_of(audited, "dominance", "neighbour_pearson_cc")["value"]) < 0.3


def test_the_bytes_do_not_depend_on_processes_nor_on_the_order_of_files(
    corpus, files, audited, tmp_path
):
    options = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    run_audit(corpus, files[::-1], tmp_path, beam_options=options)
    for name in ("embeddings.parquet", "statistics.parquet"):
        first, second = (Path(f, name).read_bytes() for f in (audited, tmp_path))
        assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def joined_table(model, ids):
    """Joined rows as `join` makes them, with nothing but the ids."""
    columns = {name: pa.nulls(len(ids), pa.string()) for name in embeddings._SAMPLED}
    names = {"model_version": model, "condition": "clean", "speaker_id": "ann"}
    columns |= {name: pa.repeat(value, len(ids)) for name, value in names.items()}
    return pa.table({**columns, "segment_id": ids})


def sampled(partitions, seed=0):
    batches = [batch for part in partitions for _, batch in sample_partition((0, part), seed)]
    return merge_samples(("a", batches), seed)[1].column("segment_id").to_pylist()


def test_the_sample_depends_on_the_seed_and_the_segments_alone(monkeypatch):
    monkeypatch.setattr(embeddings, "MAX_SEGMENTS", 40)
    ids = np.array([f"segment {n}" for n in range(500)], dtype=object)
    whole = sampled([joined_table("a", ids)])
    assert len(set(whole)) == 40
    assert whole == sorted(whole)
    mixed = joined_table("b", np.random.default_rng(0).permutation(ids))
    assert sampled([mixed.slice(300), mixed.slice(0, 300)]) == whole
    assert sampled([joined_table("a", ids)], seed=1) != whole
    # Of a model that scored fewer segments, all that it shares with the others are the same.
    some = sampled([joined_table("a", ids[:400])])
    assert set(whole) - set(ids[400:]) <= set(some)


def read(file, ids, model="wide"):
    sample = pa.record_batch({"model_version": [model] * len(ids), "segment_id": list(ids)})
    return list(read_embeddings(file, [sample]))


def test_only_what_is_sampled_is_read(corpus, tmp_path, monkeypatch):
    file = write_run(corpus, tmp_path / "a.parquet", np.arange(300), row_group_size=20)
    groups = []
    whole = pq.ParquetFile.read_row_group

    def watched(self, number, columns):
        groups.append((number, tuple(columns)))
        return whole(self, number, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    found = read(file, corpus.ids[[45, 290]])
    assert [number for number, columns in groups if "embedding" in columns] == [2, 14]
    rows = [row for _, batch in found for row in batch.to_pylist()]
    assert [row["segment_id"] for row in rows] == corpus.ids[[45, 290]].tolist()
    assert [row["row"] for row in rows] == [45, 290]
    assert [row["embedding"] for row in rows] == vectors(corpus)[[45, 290]].tolist()


def test_other_conditions_and_models_are_not_read(corpus, tmp_path):
    numbers = np.arange(4)
    conditions = ["clean", "babble", None, "clean"]
    models = ["wide", "wide", "wide", "other"]
    file = write_run(
        corpus,
        tmp_path / "a.parquet",
        numbers,
        version=None,
        condition=conditions,
        model_version=models,
    )
    ((model, batch),) = read(file, corpus.ids[numbers])
    assert model == "wide"
    assert batch["row"].to_pylist() == [0, 2]


def test_a_column_that_holds_no_embeddings_is_a_clear_error(corpus, tmp_path):
    words = ["many words"] * 20
    file = write_run(corpus, tmp_path / "words.parquet", np.arange(20), embedding=words)
    (output,) = read(file, corpus.ids[:20])
    assert output.tag == LEDGER
    (row,) = output.value.to_pylist()
    assert row["name"] == "error"
    assert "words.parquet: the column 'embedding' cannot be read" in row["detail"]


def test_embeddings_that_are_not_numbers_are_left_out(corpus, tmp_path):
    vector = vectors(corpus)[:30].tolist()
    vector[4], vector[5] = None, [np.nan] * LENGTH
    column = pa.array(vector, EMBEDDING.type)
    ids = corpus.ids[:30]
    file = write_run(corpus, tmp_path / "a.parquet", np.arange(30), embedding=column)
    found = [batch for _, batch in read(file, ids)]
    sample = [next(sample_partition((0, joined_table("wide", ids)), 0))[1]]
    attributes = pa.record_batch({"segment_id": ids, "attributes": pa.array([[]] * 30, MAP)})
    sides = {"sample": sample, "embeddings": found}
    rows, _ = project_model(("wide", sides), [attributes], corpus.config)
    assert set(rows["segment_id"].to_pylist()) == set(ids) - {ids[4], ids[5]}


def test_without_embeddings_nothing_is_read(corpus, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("embeddings were looked for")

    monkeypatch.setattr(embeddings, "read_embeddings", never)
    assert run_audit(corpus, [PredictionFile(uri=corpus.files[0])], tmp_path) == []


def test_embeddings_of_another_length_are_a_clear_error(corpus, files, tmp_path):
    short = write_run(corpus, tmp_path / "short.parquet", np.arange(350, 360), length=4)
    with pytest.raises(RunError, match="model wide have 4 numbers here and 6 there"):
        run_audit(corpus, [*files, short], tmp_path / "audit")


def test_what_has_no_spread_is_not_projected():
    assert np.isnan(project(np.ones((50, 4)), seed=0)).all()
    assert np.isnan(project(np.random.default_rng(0).normal(size=(50, 1)), seed=0)).all()
    few = project(np.random.default_rng(0).normal(size=(10, 4)), seed=-1)
    assert np.isfinite(few).all()
