"""How right the transcripts of a system are: the word error rate against the corpus's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from operator import add

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.transcribe import TranscribeStep
from orchestration.shard_plan import TRANSCRIPT
from orchestration.word_error_rates import word_errors_of_run
from ser_model.manifest import read_manifest
from ser_model.metrics.word_errors import WordErrors


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTranscripts:
    """The word error rate of the transcripts that a system is tested with.

    Attributes:
        transcripts: of the test.
    """

    transcripts: TranscribeStep

    @property
    def steps(self) -> tuple[Step, ...]:
        """The transcripts."""
        return (self.transcripts,)

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Count the errors in all words of the test together."""
        step = made.find(self.transcripts)
        table = read_manifest(step.corpus.uri(made.work))
        if TRANSCRIPT not in table.column_names:
            raise NotMadeError("the corpus has no transcripts to count errors against")
        said = table.filter(table[TRANSCRIPT].is_valid())
        ids, texts = said["segment_id"].to_pylist(), said[TRANSCRIPT].to_pylist()
        by_transcriber = word_errors_of_run(
            step.folder(made.work), dict(zip(ids, texts, strict=True))
        )
        errors = reduce(add, by_transcriber.values(), WordErrors())
        if math.isnan(errors.word_error_rate):
            raise NotMadeError("the corpus's transcripts have no words")
        note = f"of {errors.num_words} words in {errors.num_texts} segments"
        return (OurNumber(value=errors.word_error_rate, note=note),)


def plan(row: PublishedValue, planner: Planner) -> OfTranscripts:
    """Plan the transcripts that a system is tested with.

    Raises:
        NotMadeError: it is tested with the corpus's own, which errors are counted against.
    """
    transcripts = planner.transcripts(row.test, planner.system(row.system))
    if transcripts is None:
        raise NotMadeError("the corpus's own transcripts are what errors are counted against")
    return OfTranscripts(transcripts=transcripts)
