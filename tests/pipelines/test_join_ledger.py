"""A ledger that does not balance ends the audit."""

import dataclasses

import pyarrow as pa
import pytest

from pipelines.join_ledger import JoinLedger
from pipelines.transforms.dimension_order import LIKELY_ORDER
from pipelines.transforms.tables import CONFUSION_ROWS, LEDGER_ROWS
from ser_model.schema import DIMENSIONS, ManifestError, RunError

MODEL = ("w2v", "clean")


def make_ledger(**changes):
    counts = {
        "predictions": 10,
        "duplicate_predictions": 1,
        "conflicting_duplicates": 0,
        "unmatched_predictions": 2,
        "matched": 7,
        "matched_without_speaker": 0,
    }
    for target in (*DIMENSIONS, "emotion"):
        counts |= {f"{target}_scored": 7, f"{target}_prediction_missing": 0}
        counts |= {f"{target}_truth_missing": 0}
    overall = {"metadata": 12, "duplicate_metadata": 0, "prediction_rows_read": 10}
    for name, value in changes.items():
        (overall if name in overall else counts)[name] = value
    return JoinLedger(overall=overall, by_model={MODEL: counts}, unmatched_examples={MODEL: "x"})


def test_a_balanced_ledger_passes():
    ledger = make_ledger()
    ledger.check("metadata.csv")
    (model,) = ledger.to_json()["models"]
    assert model["unmatched_metadata"] == 5


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prediction_rows_read": 11}, "11 predictions were read, but 10 came to the join"),
        ({"duplicate_predictions": 0}, "does not add up: predictions 10, but .* 9"),
        ({"valence_scored": 6}, "does not add up: matched 7, but valence_scored .* 6"),
        ({"prediction_rows_read": 0}, "there are no predictions"),
    ],
)
def test_a_ledger_that_does_not_balance_is_refused(changes, problem):
    with pytest.raises(RunError, match=problem):
        make_ledger(**changes).check("metadata.csv")


def test_metadata_that_names_a_segment_twice_are_refused():
    with pytest.raises(ManifestError, match=r"metadata.csv has 3 rows with a segment_id"):
        make_ledger(duplicate_metadata=3).check("metadata.csv")


def test_predictions_without_any_truth_are_refused():
    changes = {}
    for target in (*DIMENSIONS, "emotion"):
        changes |= {f"{target}_scored": 0, f"{target}_truth_missing": 7}
    with pytest.raises(RunError, match="nothing to audit of model w2v, clean"):
        make_ledger(**changes).check("metadata.csv")


def test_an_unreadable_file_comes_first():
    ledger = dataclasses.replace(make_ledger(prediction_rows_read=0), error="a.csv is torn")
    with pytest.raises(RunError, match=r"a\.csv is torn"):
        ledger.check("metadata.csv")


def test_a_ledger_is_read_from_its_table():
    rows = [
        {"name": "metadata", "num_segments": 5, "detail": "a"},
        {"name": "error", "num_segments": 1, "detail": "torn"},
        {"name": "matched", "num_segments": 4, "model_version": "m", "condition": "c"},
        {
            "name": "unmatched_predictions",
            "num_segments": 1,
            "model_version": "m",
            "condition": "c",
            "detail": "b",
        },
    ]
    table = pa.Table.from_pylist(
        [{"model_version": "", "condition": "", **row} for row in rows], schema=LEDGER_ROWS
    )
    assert JoinLedger.from_table(table) == JoinLedger(
        overall={"metadata": 5, "error": 1},
        by_model={("m", "c"): {"matched": 4, "unmatched_predictions": 1}},
        metadata_example="a",
        unmatched_examples={("m", "c"): "b"},
        error="torn",
    )


def test_notes_say_what_was_left_out():
    notes = " ".join(make_ledger(matched_without_speaker=3).notes())
    assert "1 predictions stand twice and count once" in notes
    assert "2 predictions are not in the metadata" in notes
    assert "3 segments have no speaker_id" in notes


def test_one_emotion_in_common_is_enough():
    rows = [
        {"truth": "anger", "prediction": "joy"},
        {"truth": "joy", "prediction": "Anger"},
    ]
    table = pa.Table.from_pylist(
        [{"model_version": "m", "condition": "c", "num_segments": 1, **row} for row in rows],
        schema=CONFUSION_ROWS,
    )
    make_ledger().check_emotions(table)
    with pytest.raises(RunError, match="model m, c predicts joy, but the truth says anger"):
        make_ledger().check_emotions(table.slice(0, 1))


def test_dimensions_that_seem_permuted_are_refused_or_kept_with_a_note():
    ledger = dataclasses.replace(
        make_ledger(), likely_orders={MODEL: ("valence", "dominance", "arousal")}
    )
    with pytest.raises(RunError) as caught:
        ledger.check("metadata.csv")
    assert str(caught.value) == (
        "model w2v, clean: its dimensions seem to stand in another order: its valence fits the "
        "truth of arousal, its arousal fits the truth of valence better; name the columns of its "
        "predictions right, or give --keep-dimension-order if it is just a bad model"
    )
    ledger.check("metadata.csv", keep_dimension_order=True)
    assert "seem to stand in another order" in ledger.notes()[-1]
    (model,) = ledger.to_json()["models"]
    assert model["likely_dimension_order"] == "valence,dominance,arousal"


def test_an_order_is_read_from_the_table_and_is_no_count():
    rows = [{"name": "metadata", "num_segments": 5, "detail": "a"}]
    rows.append({"name": LIKELY_ORDER, "num_segments": 5, "detail": "valence,arousal,dominance"})
    filled = [{"model_version": "", "condition": "", **row} for row in rows]
    filled[1] |= {"model_version": "w2v", "condition": "clean"}
    ledger = JoinLedger.from_table(pa.Table.from_pylist(filled, schema=LEDGER_ROWS))
    assert ledger.likely_orders == {MODEL: ("valence", "arousal", "dominance")}
    assert ledger.by_model == {}


def test_speakers_of_the_training_are_noted():
    counts = {"training_speakers": 2, "matched_of_training_speakers": 5}
    note = make_ledger(**counts).notes()[-1]
    assert note.startswith("model w2v, clean: 5 segments are of 2 speakers that the training has")
    none = make_ledger(training_speakers=0, matched_of_training_speakers=0)
    assert "training" not in " ".join(none.notes())
