"""A speaker with very many segments, very many speakers with one, and a group with nearly all."""

import json
import subprocess
import sys

import audmetric
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

NUM_ROWS = 1_000_000
NUM_OF_ONE_SPEAKER = 400_000
MAX_MIB = 2048

AUDIT = """
import json, resource, sys
from orchestration.auditing import audit_runs
folder = sys.argv[1]
audit_runs([f"{folder}/p.parquet"], f"{folder}/m.parquet", f"{folder}/audit", num_replicates=100)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
"""


def write_corpus(folder):
    random = np.random.default_rng(0)
    number = np.arange(NUM_ROWS)
    speaker = np.where(number < NUM_OF_ONE_SPEAKER, 0, number)
    truth = random.uniform(0, 1, NUM_ROWS)
    prediction = np.clip(0.3 + 0.4 * truth + random.normal(0, 0.1, NUM_ROWS), 0, 1)
    ids = pa.array([f"segment-{n}" for n in number.tolist()])
    metadata = {
        "segment_id": ids,
        "speaker_id": pa.array([f"speaker-{n}" for n in speaker.tolist()]),
        "sex": pa.array(np.where(number % 1000 == 999, "male", "female")),
        "arousal": truth,
    }
    order = pa.array(random.permutation(NUM_ROWS))
    pq.write_table(pa.table(metadata), folder / "m.parquet")
    predictions = pa.table({"segment_id": ids, "arousal": prediction}).take(order)
    pq.write_table(predictions, folder / "p.parquet")
    return truth, prediction, np.asarray(metadata["sex"])


@pytest.mark.slow
def test_neither_hot_keys_nor_many_speakers_need_much_memory(tmp_path):
    truth, prediction, sex = write_corpus(tmp_path)
    command = [sys.executable, "-c", AUDIT, str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) < MAX_MIB
    statistics = pq.read_table(tmp_path / "audit" / "statistics.parquet").to_pylist()
    found = {row["slice"]: row for row in statistics if row["metric"] == "concordance_cc"}
    for name, rows in (
        ("", sex != ""),
        ("sex=female", sex == "female"),
        ("sex=male", sex == "male"),
    ):
        expected = audmetric.concordance_cc(truth[rows], prediction[rows])
        assert found[name]["value"] == pytest.approx(expected, abs=1e-9)
        assert found[name]["num_segments"] == rows.sum()
    assert found[""]["num_speakers"] == NUM_ROWS - NUM_OF_ONE_SPEAKER + 1
    # Two fifths of all segments are one speaker's, so that effectively there are about six: the
    # spread of a hundred replicates tells it to a fifth or so.
    assert 3 < found[""]["degrees_of_freedom"] < 9
    speakers = pq.read_table(
        tmp_path / "audit" / "speakers.parquet",
        filters=[("metric", "==", "bias"), ("target", "==", "arousal")],
    )
    assert speakers.num_rows == NUM_ROWS - NUM_OF_ONE_SPEAKER + 1
