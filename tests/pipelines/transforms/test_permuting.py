"""Margins by permutation against shuffles written out, segment by segment."""

import audmetric
import numpy as np
import pyarrow as pa
import pytest

from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.permuting import (
    hold_against_shuffles,
    permute_speakers,
    shuffle_speakers,
)
from pipelines.transforms.speakers import merge_speakers, sum_up_speakers
from pipelines.transforms.tables import to_batch, to_table
from ser_model.schema import DIMENSIONS

NUM_SPEAKERS = 18
CONFIG = AuditConfig(num_replicates=99, minimums=Minimums(segments=1, speakers=1))
SPEAKERS = [f"speaker {number:02}" for number in range(NUM_SPEAKERS)]


@pytest.fixture(scope="module")
def joined():
    """Speakers of three accents and two sexes; one has no accent; each has two moods."""
    random = np.random.default_rng(0)
    speaker = random.integers(0, NUM_SPEAKERS, 700)
    accent = np.array(["english", "scottish", "welsh"])[speaker % 3].astype(object)
    accent[speaker == 4] = "(missing)"
    columns = {
        "model_version": ["m"] * 700,
        "condition": ["clean"] * 700,
        "speaker_id": np.array(SPEAKERS)[speaker],
        "slice_by:": [""] * 700,
        "slice_by:accent": [f"accent={name}" for name in accent],
        "slice_by:sex": [f"sex={'fm'[number % 2]}" for number in speaker],
        "slice_by:mood": [f"mood={name}" for name in random.choice(["bright", "dark"], 700)],
    }
    for dimension in DIMENSIONS:
        truth = random.uniform(0, 1, 700)
        noise = np.where((accent == "scottish") & (dimension == "arousal"), 0.5, 0.1)
        columns[f"truth_{dimension}"] = truth
        columns[f"prediction_{dimension}"] = truth + random.normal(0, noise)
    said = random.choice(["anger", "joy"], 700)
    columns["truth_emotion"] = said
    columns["prediction_emotion"] = np.where(random.random(700) < 0.8, said, "joy")
    return pa.table(columns)


def permuted(joined, config=CONFIG):
    batches = [element[1] for element in sum_up_speakers((0, joined), 1) if type(element) is tuple]
    sums = merge_speakers(to_table(batches))
    key, rows = permute_speakers((("m", "clean"), [to_batch(sums)]), config)
    assert key == ("m", "clean")
    return {(row["slice"], row["target"]): row for row in rows.to_pylist()}


def shuffled_gaps(joined, column, target, metric):
    """The gap of scottish and the rest, or of the sexes, of each shuffle."""
    arrays = {name: np.array(joined[name].to_pylist()) for name in joined.column_names}
    position = {name: index for index, name in enumerate(SPEAKERS)}
    speaker = np.array([position[name] for name in arrays["speaker_id"]])
    group_of = np.empty(NUM_SPEAKERS, dtype=object)
    group_of[speaker] = arrays[f"slice_by:{column}"]
    first = "accent=scottish" if column == "accent" else "sex=f"
    for order in shuffle_speakers(SPEAKERS, CONFIG):
        group = group_of[order][speaker]
        others = (group != first) & (group != "accent=(missing)")
        yield np.subtract(
            *(
                metric(arrays[f"truth_{target}"][mask], arrays[f"prediction_{target}"][mask])
                for mask in (group == first, others)
            )
        )


def test_the_family_is_every_judged_gap_of_columns_that_can_be_dealt_out(joined):
    found = permuted(joined)
    accents = ("accent=english", "accent=scottish", "accent=welsh")
    comparisons = {f"{one}-rest" for one in accents} | {"sex=f-sex=m"}
    comparisons |= {f"{accents[i]}-{accents[j]}" for i, j in ((0, 1), (0, 2), (1, 2))}
    assert set(found) == {(c, t) for c in comparisons for t in (*DIMENSIONS, "emotion")}
    assert {found["sex=f-sex=m", t]["metric"] for t in ("arousal", "emotion")} == {
        "concordance_cc_gap",
        "unweighted_average_recall_gap",
    }


def test_margins_and_p_values_equal_the_shuffles_written_out(joined):
    """A family of two gaps, so that both can be written out."""
    config = AuditConfig(
        num_replicates=99,
        margins={"unweighted_average_recall": 0.075},
        minimums=Minimums(segments=1, speakers=1),
    )
    two = joined.drop_columns(["slice_by:mood", "slice_by:accent"])
    (row,) = permuted(two, config).values()
    recall = audmetric.unweighted_average_recall
    gaps = np.array(list(shuffled_gaps(joined, "sex", "emotion", recall)))
    scaled = np.abs(gaps) / np.std(gaps[1:])
    assert row["p_adjusted"] == pytest.approx((1 + (scaled[1:] >= scaled[0]).sum()) / 100)
    # Of 99 shuffles a gap of p < .05 is beaten by three at most: the fourth largest is its margin.
    assert row["margin"] == pytest.approx(np.sort(np.abs(gaps[1:]))[-4])


def test_one_gap_among_many_is_held_against_the_largest_of_all(joined):
    found = permuted(joined)
    planted = found["accent=scottish-rest", "arousal"]
    gaps = np.array(list(shuffled_gaps(joined, "accent", "arousal", audmetric.concordance_cc)))
    alone = np.abs(gaps[1:])
    assert planted["p_adjusted"] < 0.05
    assert planted["margin"] < abs(gaps[0])
    assert planted["margin"] > np.sort(alone)[-4], "a family asks for more than one gap alone"
    others = [row["p_adjusted"] for (name, _), row in found.items() if "scottish" not in name]
    assert min(others) > 0.05


def test_a_gap_is_significant_exactly_where_it_is_larger_than_its_margin():
    random = np.random.default_rng(3)
    shuffles = random.normal(0, 1, (6, 1000))
    for size in np.linspace(2, 4, 50):
        gaps = [({"slice": str(n)}, np.append(size, row)) for n, row in enumerate(shuffles)]
        for row in hold_against_shuffles(gaps):
            assert (row["p_adjusted"] < 0.05) == (size > row["margin"])


def test_small_slices_and_metrics_that_are_not_judged_take_no_part(joined):
    config = AuditConfig(num_replicates=9, minimums=Minimums(segments=1, speakers=6))
    assert {name for name, _ in permuted(joined, config)} == {
        "sex=f-sex=m",
        "accent=english-accent=welsh",
        "accent=english-rest",
        "accent=welsh-rest",
    }
    nothing = AuditConfig(num_replicates=9, margins={})
    assert permuted(joined, nothing) == {}


def test_every_shuffle_deals_out_every_group_and_the_seed_decides():
    shuffles = shuffle_speakers(SPEAKERS, CONFIG)
    assert shuffles[0].tolist() == list(range(NUM_SPEAKERS))
    assert (np.sort(shuffles, axis=1) == np.arange(NUM_SPEAKERS)).all()
    assert len(np.unique(shuffles, axis=0)) == 100
    other = shuffle_speakers(SPEAKERS, AuditConfig(num_replicates=99, seed=1))
    assert (shuffles[1:] != other[1:]).mean() > 0.5


def test_speakers_are_dealt_everywhere_equally_often():
    config = AuditConfig(num_replicates=4000)
    places = shuffle_speakers(SPEAKERS[:6], config)[1:]
    counts = np.array([np.bincount(column, minlength=6) for column in places.T])
    assert abs(counts - 4000 / 6).max() < 5 * np.sqrt(4000 / 6)
