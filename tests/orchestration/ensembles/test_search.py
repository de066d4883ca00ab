"""The search for an ensemble: against combinations counted by hand, and against the audit."""

import itertools
import json
from pathlib import Path

import audmetric
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.auditing import audit_runs
from orchestration.ensembles.choice import search_ensembles
from orchestration.ensembles.search import list_combinations
from orchestration.ensembles.search_text import search_data, search_text
from orchestration.ensembles.voting import vote_on_runs
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.recall import unweighted_average_recall
from ser_model.schema import DIMENSIONS, ConfigError, ManifestError, RunError

EMOTIONS = ("anger", "joy", "sadness", "surprise")
NUM_SEGMENTS = 240
NAMES = ("ann", "bob", "cat", "dan")


def write(folder: Path, *, task: str = "emotion", splits=("dev", "test"), skills=(2.0,) * 4):
    """Metadata of 16 speakers, half of them in each split, and a file of each member."""
    random = np.random.default_rng(0)
    ids = [f"segment {number:03}" for number in range(NUM_SEGMENTS)]
    speaker = random.integers(0, 16, NUM_SEGMENTS)
    truth = {name: random.random(NUM_SEGMENTS) for name in DIMENSIONS}
    emotion = random.integers(0, 4, NUM_SEGMENTS)
    of_dimensions = task == "dimensions"
    metadata = {
        "segment_id": ids,
        "speaker_id": [f"speaker {number}" for number in speaker],
        "split": [splits[number % 2] for number in speaker],
        **(truth if of_dimensions else {"emotion": [EMOTIONS[number] for number in emotion]}),
    }
    pq.write_table(pa.table(metadata), folder / "metadata.parquet")
    files = []
    for name, skill in zip(NAMES, skills, strict=True):
        logits = random.normal(0, 1, (NUM_SEGMENTS, 4))
        logits[np.arange(NUM_SEGMENTS), emotion] += skill
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rows = scores.astype(np.float32).tolist()
        columns = {
            "emotion": [EMOTIONS[number] for number in scores.argmax(axis=1)],
            "emotion_scores": pa.array(
                [list(zip(EMOTIONS, row, strict=True)) for row in rows],
                pa.map_(pa.string(), pa.float32()),
            ),
        }
        if of_dimensions:
            columns = {d: truth[d] + random.normal(0, 1 / skill, NUM_SEGMENTS) for d in DIMENSIONS}
        pq.write_table(pa.table({"segment_id": ids, **columns}), folder / f"{name}.parquet")
        files.append(str(folder / f"{name}.parquet"))
    return files, str(folder / "metadata.parquet")


def rows_of(folder: Path, split: str):
    metadata = pq.read_table(folder / "metadata.parquet").to_pandas()
    kept = (metadata["split"] == split).to_numpy()
    members = [pq.read_table(folder / f"{name}.parquet").to_pandas()[kept] for name in NAMES]
    return metadata[kept], members


def test_every_combination_is_measured_as_by_hand(tmp_path):
    files, metadata = write(tmp_path)
    result = search_ensembles(files, metadata, sizes=[2, 3], num_replicates=20)
    truth, members = rows_of(tmp_path, "dev")
    found = result.searches["dev"]
    assert len(found.combinations) == 6 + 4
    for row in found.combinations:
        chosen = []
        for number in range(len(truth)):
            said = [members[member].iloc[number] for member in row.members]
            votes = [one["emotion"] for one in said]
            tied = {e for e in votes if votes.count(e) == max(map(votes.count, votes))}
            mean = {e: sum(dict(one["emotion_scores"])[e] for one in said) for e in tied}
            chosen.append(min(tied, key=lambda e: (-mean[e], e)))
        figures = row.figures
        expected = audmetric.unweighted_average_recall(truth["emotion"].tolist(), chosen)
        assert figures["unweighted_average_recall"].value == pytest.approx(expected, abs=1e-12)
        expected = audmetric.accuracy(truth["emotion"].tolist(), chosen)
        assert figures["accuracy"].value == pytest.approx(expected, abs=1e-12)
    values = [row.value for row in found.combinations]
    assert values == sorted(values, reverse=True)
    for row in found.members:
        expected = audmetric.unweighted_average_recall(
            truth["emotion"].tolist(), members[row.members[0]]["emotion"].tolist()
        )
        assert row.value == pytest.approx(expected, abs=1e-12)


def test_dimensions_are_measured_by_their_mean_ccc(tmp_path):
    files, metadata = write(tmp_path, task="dimensions")
    result = search_ensembles(files, metadata, sizes=[3], num_replicates=20)
    assert result.vote == "mean"
    truth, members = rows_of(tmp_path, "dev")
    for row in result.searches["dev"].combinations:
        ccc = [
            audmetric.concordance_cc(
                truth[d].to_numpy(), np.mean([members[m][d] for m in row.members], axis=0)
            )
            for d in DIMENSIONS
        ]
        assert row.value == pytest.approx(np.mean(ccc), abs=1e-9)
        assert row.figures["valence"].value == pytest.approx(ccc[2], abs=1e-9)


@pytest.mark.parametrize("vote", ["hard", "soft"])
def test_value_and_interval_are_those_of_an_audit_of_the_vote(tmp_path, vote):
    files, metadata = write(tmp_path, splits=("dev", "dev"))
    result = search_ensembles(files, metadata, sizes=[3], vote=vote, num_replicates=50, seed=3)
    best = result.searches["dev"].combinations[0]
    run = str(tmp_path / "run")
    vote_on_runs([files[number] for number in best.members], run, vote=vote)
    audited = audit_runs([run], metadata, str(tmp_path / "audit"), num_replicates=50, seed=3)
    (row,) = [
        row
        for row in audited.statistics.to_pylist()
        if row["metric"] == "unweighted_average_recall" and row["slice_by"] == ""
    ]
    figure = best.figures["unweighted_average_recall"]
    assert [figure.value, figure.ci_low, figure.ci_high] == pytest.approx(
        [row["value"], row["ci_low"], row["ci_high"]], abs=1e-12
    )


def test_the_corrected_value_by_repeating_segments(tmp_path):
    files, metadata = write(tmp_path, skills=(1.0,) * 4)
    result = search_ensembles(files, metadata, sizes=[2], num_replicates=30, seed=5)
    truth, members = rows_of(tmp_path, "dev")
    names = sorted(set(truth["speaker_id"]))
    weights = poisson_weights(speaker_keys(names), seed=5, num_replicates=30)
    of_row = [names.index(name) for name in truth["speaker_id"]]
    emotion = truth["emotion"].to_numpy()
    in_bag, out_of_bag = {}, {}
    for measured in result.searches["dev"].members:
        said = members[measured.members[0]]["emotion"].to_numpy()
        for values, times in ((in_bag, weights), (out_of_bag, weights == 0)):
            values[measured.members[0]] = [
                unweighted_average_recall(
                    np.repeat(emotion, row[of_row]).tolist(), np.repeat(said, row[of_row]).tolist()
                )
                for row in times.astype(int)
            ]
    chosen = [max(range(4), key=lambda m, b=b: in_bag[m][b]) for b in range(30)]
    expected = np.nanmean([out_of_bag[member][b] for b, member in enumerate(chosen)])
    assert result.searches["dev"].corrected_member == pytest.approx(expected, abs=1e-9)


def test_test_is_not_looked_at_unless_it_is_asked_for(tmp_path):
    files, metadata = write(tmp_path)
    result = search_ensembles(files, metadata, sizes=[3], num_replicates=20)
    assert list(result.searches) == ["dev"]
    assert search_data(result)["warning"] is None
    assert "TEST" not in search_text(result)


def test_a_choice_on_test_is_warned_of_and_corrected(tmp_path):
    files, metadata = write(tmp_path, skills=(0.6,) * 4)
    result = search_ensembles(files, metadata, sizes=[2, 3], split="test", num_replicates=200)
    assert list(result.searches) == ["dev", "test"]
    search = result.searches["test"]
    assert search.corrected < search.combinations[0].value
    text = search_text(result)
    assert f"corrected {search.corrected:.3f}" in text
    assert "!!! CHOSEN ON TEST" in text
    data = json.loads(json.dumps(search_data(result)))
    assert "CHOSEN ON TEST" in data["warning"]
    assert data["splits"]["test"]["corrected"] == search.corrected
    assert len(data["splits"]["dev"]["combinations"]) == result.num_combinations == 10


def test_the_table_shows_the_best_and_the_best_member(tmp_path):
    files, metadata = write(tmp_path, skills=(9.0, 0.1, 0.1, 0.1))
    text = search_text(search_ensembles(files, metadata, sizes=[3], num_replicates=20))
    assert "4 combinations of 4 members" in text
    (line,) = [line for line in text.splitlines() if "best member: ann" in line]
    assert "1.000" in line
    assert "ann.parquet" in text.splitlines()[-1]


def test_an_emotion_that_nobody_predicts_counts_as_missed(tmp_path):
    files, metadata = write(tmp_path, skills=(20.0,) * 4)
    table = pq.read_table(metadata)
    emotions = ["fear" if e == "anger" else e for e in table["emotion"].to_pylist()]
    at = table.column_names.index("emotion")
    pq.write_table(table.set_column(at, "emotion", pa.array(emotions)), metadata)
    result = search_ensembles(files, metadata, sizes=[3], num_replicates=20)
    assert result.searches["dev"].combinations[0].value == 0.75


def test_segments_without_a_prediction_of_every_member_are_left_out(tmp_path):
    files, metadata = write(tmp_path)
    table = pq.read_table(files[0])
    lacking = pa.array([None if n < 10 else e for n, e in enumerate(table["emotion"].to_pylist())])
    table = table.drop_columns("emotion_scores").set_column(1, "emotion", lacking)
    pq.write_table(table, files[0])
    result = search_ensembles(files, metadata, sizes=[3], split="test", num_replicates=20)
    assert sum(found.num_segments for found in result.searches.values()) == NUM_SEGMENTS - 10


def test_what_cannot_be_searched_is_refused(tmp_path):
    files, metadata = write(tmp_path)
    with pytest.raises(ConfigError, match="--size 5: an ensemble has 2 members or more, of the 4"):
        search_ensembles(files, metadata, sizes=[3, 5])
    with pytest.raises(ConfigError, match="there are 184756 combinations of 10 of 20 members"):
        list_combinations(20, [10])
    other = tmp_path / "other"
    other.mkdir()
    _, untested = write(other, splits=("train", "dev"))
    with pytest.raises(ManifestError, match="no row of split 'test'"):
        search_ensembles(files, untested, sizes=[3], split="test")
    renamed = pq.read_table(metadata).to_pandas()
    renamed["segment_id"] += "x"
    pq.write_table(pa.Table.from_pandas(renamed), other / "renamed.parquet")
    with pytest.raises(RunError, match="hold no segment of split 'dev'"):
        search_ensembles(files, str(other / "renamed.parquet"), sizes=[3])
    renamed["emotion"] = "boredom"
    renamed["segment_id"] = renamed["segment_id"].str.removesuffix("x")
    pq.write_table(pa.Table.from_pandas(renamed), other / "bored.parquet")
    with pytest.raises(RunError, match="no emotion in common"):
        search_ensembles(files, str(other / "bored.parquet"), sizes=[3])


def test_combinations_are_all_there():
    found = list_combinations(6, [5, 3, 3])
    assert found == [*itertools.combinations(range(6), 3), *itertools.combinations(range(6), 5)]
