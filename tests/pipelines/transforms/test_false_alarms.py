"""How often an audit of a corpus without any gap finds one, and with a large gap does not.

Each seed is a corpus of its own: 24 speakers of three accents and both sexes, whose truth and
predictions resemble each other within a speaker (ICC .3). The family is that of the demo: three
dimensions, accents in pairs and with the rest, and the sexes.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipelines.audit_config import AuditConfig
from pipelines.transforms.bootstrapping import bootstrap_speakers
from pipelines.transforms.comparing import compare_slices
from pipelines.transforms.judging import PERMUTATIONS_SIDE, STATISTICS_SIDE, judge_family
from pipelines.transforms.permuting import permute_speakers
from pipelines.transforms.slices import merge_parts
from pipelines.transforms.speakers import sum_up_speakers
from ser_model.schema import DIMENSIONS

NUM_SPEAKERS, SEGMENTS_PER_SPEAKER = 24, 25
ACCENTS = np.array(["american", "british", "scottish"])


def simulate(seed, *, planted):
    """A joined table; with `planted`, one accent's arousal is little more than noise."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(NUM_SPEAKERS), SEGMENTS_PER_SPEAKER)
    accent = ACCENTS[speaker % 3]

    def mixed():
        shared = random.normal(size=NUM_SPEAKERS)[speaker]
        return np.sqrt(0.3) * shared + np.sqrt(0.7) * random.normal(size=speaker.size)

    columns = {
        "model_version": ["m"] * speaker.size,
        "condition": ["clean"] * speaker.size,
        "speaker_id": [f"corpus {seed} speaker {number:02}" for number in speaker],
        "slice_by:": [""] * speaker.size,
        "slice_by:accent": [f"accent={name}" for name in accent],
        "slice_by:sex": [f"sex={'fm'[number // 3 % 2]}" for number in speaker],
        "truth_emotion": pa.nulls(speaker.size, pa.string()),
        "prediction_emotion": pa.nulls(speaker.size, pa.string()),
    }
    for dimension in DIMENSIONS:
        truth, error = 0.18 * mixed(), 0.12 * mixed()
        is_noise = planted & (accent == "scottish") & (dimension == "arousal")
        columns[f"truth_{dimension}"] = 0.5 + truth
        columns[f"prediction_{dimension}"] = 0.5 + np.where(is_noise, 0.1, 0.7) * truth + error
    return pa.table(columns)


def verdicts(seed, *, planted=False, margins_from="given", num_replicates=200):
    """Return the verdict on each judged gap."""
    config = AuditConfig(seed=seed, num_replicates=num_replicates, margins_from=margins_from)
    joined = simulate(seed, planted=planted)
    sums = [element[1] for element in sum_up_speakers((0, joined), 1) if type(element) is tuple]
    parts = []
    labelled = []
    for output in bootstrap_speakers((0, sums), config):
        if type(output) is tuple:
            parts.append((output[0], [output[1]]))
        elif output.tag == "labelled":
            labelled.append(output.value[1])
    key = ("m", "clean")
    compared = [
        batch for part in parts for _, batch in compare_slices(merge_parts(part, config), config)
    ]
    permuted = [permute_speakers((key, labelled), config)[1]] if labelled else []
    judged = judge_family((key, {STATISTICS_SIDE: compared, PERMUTATIONS_SIDE: permuted}), config)
    return {
        (row["slice"], row["target"]): row["verdict"]
        for row in judged.to_pylist()
        if row["p_adjusted"] is not None
    }


def share_with_a_failed_gap(seeds, **options):
    return np.mean(["fail" in verdicts(seed, **options).values() for seed in seeds])


@pytest.mark.parametrize("margins_from", ["given", "permutation"])
def test_few_corpora_without_a_gap_fail_and_those_with_one_do(margins_from):
    """The twin of the slow test below."""
    options = {"margins_from": margins_from, "num_replicates": 99}
    assert share_with_a_failed_gap(range(5), **options) <= 1 / 5
    found = Counter(
        verdicts(seed, planted=True, **options)["accent=scottish-rest", "arousal"]
        for seed in range(3)
    )
    assert found["fail"] >= 2
    assert found["pass"] == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("margins_from", ["given", "permutation"])
def test_false_alarms_over_200_corpora(margins_from):
    assert share_with_a_failed_gap(range(200), margins_from=margins_from) <= 0.05
