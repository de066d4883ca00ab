"""Whose transcripts a system reads, and how right they are, counted by a second program."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from orchestration.committed import committed_files
from orchestration.reproduce.plan import TRANSCRIBER, Planner, in_order
from orchestration.reproduce.rows.planned import Made, NotMadeError
from orchestration.reproduce.rows.transcription import OfTranscripts, plan
from orchestration.reproduce.steps.base import Context
from orchestration.reproduce.steps.transcribe import TranscribeStep
from ser_model import storage

TEST = "msp-podcast/test-1"
SAID = ("AS IT WAS", "", "THE SEA", "HE SAT THERE ON THE SHORE")


def num_edits(said: list[str], heard: list[str]) -> int:
    """The least number of words that are replaced, left out or put in."""

    @cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        changed = said[i - 1] != heard[j - 1]
        return min(
            fewest(i - 1, j - 1) + changed,
            fewest(i - 1, j) + 1,
            fewest(i, j - 1) + 1,
        )

    return fewest(len(said), len(heard))


@pytest.mark.parametrize(
    ("table", "system", "said", "expected"),
    [
        ("deoliveira/table2", "distilhubert-tinybert", SAID, None),
        ("deoliveira/table2", "distilhubert-tinybert", ("A", None), (TRANSCRIBER, False)),
        ("deoliveira/table2", "with Whisper tiny", SAID, ("hf:openai/whisper-tiny", True)),
        ("wagner/fig3", "hubert-b with BERT", SAID, (TRANSCRIBER, True)),
        ("triantafyllopoulos/table5", "sfcnn14", SAID, None),
        ("triantafyllopoulos/table5", "late-fusion", ("A", None), (TRANSCRIBER, False)),
    ],
)
def test_transcripts_are_those_of_the_corpus_or_of_whom_the_table_names(
    make_corpora: Callable, planner: Callable, table: str, system: str, said: tuple, expected: tuple
) -> None:
    planned: Planner = planner(table, make_corpora(said))
    names = {one.name: one for one in planned.table.systems}
    step = planned.transcripts(TEST, names.get(system, planned.table.systems[0]))
    if expected is None:
        assert step is None
    else:
        assert step is not None
        assert step.model.startswith(expected[0])
        assert step.replace == expected[1]
        assert step.corpus.name == TEST


def transcribed(make_corpora: Callable, planner: Callable, said: tuple, model: Path) -> tuple:
    corpora = make_corpora(said)
    corpus = planner("deoliveira/table2", corpora).corpus(TEST, "")
    return TranscribeStep(corpus=corpus, model=str(model), replace=True), corpora


def run(step: TranscribeStep, context: Context) -> Made:
    steps = in_order([step])
    for one in steps:
        one.run(context)
    return Made(context.work, {one: one for one in steps}, {})


def test_the_word_error_rate_is_that_of_all_words_together(
    make_corpora: Callable, planner: Callable, context_of: Callable, ctc_folder: Path
) -> None:
    step, corpora = transcribed(make_corpora, planner, SAID, ctc_folder)
    context = context_of(corpora)
    (number,) = OfTranscripts(transcripts=step).read(run(step, context))
    files = committed_files(step.folder(context.work), product="transcripts").predictions
    rows = [row for file in files for row in storage.read_table(file).to_pylist()]
    heard = {row["segment_id"]: row["transcript"].split() for row in rows}
    edits = [num_edits(text.split(), heard[f"s{at}"]) for at, text in enumerate(SAID)]
    assert number.value == sum(edits) / 11
    assert number.note == "of 11 words in 4 segments"


def test_there_is_no_word_error_rate_without_words(
    make_corpora: Callable, planner: Callable, context_of: Callable, ctc_folder: Path
) -> None:
    step, corpora = transcribed(make_corpora, planner, ("", None), ctc_folder)
    with pytest.raises(NotMadeError, match="have no words"):
        OfTranscripts(transcripts=step).read(run(step, context_of(corpora)))


def test_the_corpus_is_not_held_against_itself(make_corpora: Callable, planner: Callable) -> None:
    planned: Planner = planner("deoliveira/table2", make_corpora(SAID))
    row = next(row for row in planned.table.rows if row.system == "distilhubert-tinybert")
    with pytest.raises(NotMadeError, match="what errors are counted against"):
        plan(row, planned)


def test_a_step_says_whose_transcripts_they_are(make_corpora: Callable, planner: Callable) -> None:
    planned: Planner = planner("deoliveira/table2", make_corpora(SAID))
    step = planned.transcripts(TEST, planned.system("with Whisper base"))
    assert step is not None
    assert step.note == "transcripts of msp-podcast/test-1 by openai/whisper-base (all)"


def test_what_is_trained_and_scored_reads_the_transcripts(
    make_corpora: Callable,
    planner: Callable,
    context_of: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpora = make_corpora(SAID)
    context, planned = context_of(corpora), planner("wagner/fig3", corpora)
    row = next(row for row in planned.table.rows if row.system == "hubert-b with BERT")
    (predictions,) = planned.predictions(row.system, row)
    scored = predictions.source
    training, tuned = scored.training, scored.training.backbone_from
    storage.write_json(
        storage.join(tuned.folder(context.work), "train.json"),
        {"best": {"dev": {"selection": 0.5}}},
    )
    calls: list[dict[str, object]] = []
    monkeypatch.setattr("orchestration.reproduce.steps.train.check_at_hand", lambda _: None)
    for name in ("training.train_recipe", "scoring.score"):
        monkeypatch.setattr(f"orchestration.{name}", lambda *_, **options: calls.append(options))
    training.run(context)
    scored.run(context)
    read = [call["transcripts_uri"] for call in calls]
    assert read == [step.transcripts.folder(context.work) for step in (training, scored)]
    assert f"backbone.pretrained={tuned.folder(context.work)}" in calls[0]["overrides"]
    assert scored.training.transcripts.key != scored.transcripts.key
    own = planner("deoliveira/table2", corpora)
    (spoken,) = own.predictions("distilhubert-tinybert", own.table.rows[0])
    spoken.source.training.run(context)
    assert calls[-1]["transcripts_uri"] is None
