"""From a published table to the steps that make its numbers.

    PublishedTable -> Planner -> a Planned row for each of its rows -> their steps, inputs first

The planner knows how a system is trained, scored, voted and audited; `rows` knows, for each kind of
number, which of these it needs and how it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache

from orchestration.reproduce.changes import Changes
from orchestration.reproduce.corpora import Corpora, Part
from orchestration.reproduce.places import FOUR_EMOTIONS_SHARE, PLACES
from orchestration.reproduce.published import PublishedSystem, PublishedTable, PublishedValue
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.best_seed import BestSeedStep
from orchestration.reproduce.steps.corpus import CorpusStep, NoiseStep
from orchestration.reproduce.steps.predictions import PredictionsStep
from orchestration.reproduce.steps.score import ScoreStep
from orchestration.reproduce.steps.train import TrainStep
from orchestration.reproduce.steps.transcribe import TranscribeStep
from orchestration.reproduce.steps.vote import VoteStep
from ser_model.augment import SETS, known_names, named
from ser_model.schema import CLEAN, DIMENSIONS
from ser_model.training.ensemble_recipe import list_ensemble_recipes, load_ensemble_recipe
from ser_model.voting import Vote

TRANSCRIBER = "hf:facebook/wav2vec2-base-960h@22aad52d435eb6dbaf354bdad9b0da84ce7d6156"
"""Who transcribes what has no transcript, where a table does not name another."""


_load_ensemble_recipe_once = cache(load_ensemble_recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Makes the steps of a table.

    Attributes:
        table: whose numbers are wanted.
        corpora: that were given.
        changes: of trainings.
    """

    table: PublishedTable
    corpora: Corpora
    changes: Changes = field(default_factory=Changes)

    def system(self, name: str) -> PublishedSystem:
        """Return a system of the table by its name."""
        return next(system for system in self.table.systems if system.name == name)

    def corpus(self, place: str, target: str, *, dialogue_acts: bool = False) -> CorpusStep:
        """Return the manifest of a place, of the four emotions where these are the target."""
        corpus = place.partition("/")[0]
        part = Part(
            place=place,
            four_emotions=target == "emotion" and corpus in FOUR_EMOTIONS_SHARE,
            dialogue_acts=dialogue_acts and corpus == "iemocap",
        )
        sha256, num_segments = self.corpora.identify(part)
        return CorpusStep(part=part, sha256=sha256, num_segments=num_segments)

    def training(self, system: PublishedSystem, trained_on: str, target: str) -> TrainStep:
        """Return the training of a system that is no vote.

        Args:
            system: with a recipe.
            trained_on: a place.
            target: of the row; of a system with a training for each target, which of them.
        """
        assert system.recipe is not None
        task = (f"task={target}",) if system.single_task else ()
        before = None
        if system.backbone_from:
            before = self.training(self.system(system.backbone_from), trained_on, target)
        training = TrainStep(
            system=system.name,
            recipe=system.recipe,
            overrides=_last_of_each((*system.overrides, *task, *self.changes.of(system.recipe))),
            corpus=self.corpus(trained_on, target),
            backbone_from=before,
        )
        return replace(
            training,
            num_folds=self._num_folds(training),
            transcripts=self.transcripts(trained_on, system) if training.reads_text else None,
        )

    def transcripts(self, place: str, system: PublishedSystem) -> TranscribeStep | None:
        """Return what transcribes a place for a system; None for the corpus's own transcripts."""
        corpus = self.corpus(place, "")
        if system.transcripts:
            return TranscribeStep(corpus=corpus, model=system.transcripts, replace=True)
        if not self.corpora.num_without_transcript(corpus.part):
            return None
        return TranscribeStep(corpus=corpus, model=TRANSCRIBER, replace=False)

    def _num_folds(self, training: TrainStep) -> int:
        data = training.resolved.data
        if data.fold_by is None:
            return 1
        num_values = self.corpora.num_values(training.corpus.part, data.fold_by)
        return min(data.num_folds or num_values, num_values)

    def predictions(
        self, name: str, row: PublishedValue, conditions: tuple[str, ...] = ()
    ) -> tuple[PredictionsStep, ...]:
        """Return what a system predicts of the test of a row, for each of its seeds.

        Args:
            name: of the system; the row may be of another.
            row: says what is trained on, tested with, and for which target.
            conditions: beside clean, of all rows of this test.
        """
        system = self.system(name)
        if system.members:
            members = [self.predictions(member, row, conditions) for member in system.members]
            return _votes(system.name, members, system.vote)
        if system.recipe in list_ensemble_recipes():
            return self._ensemble(system, row, conditions)
        return self._predictions(system, row, conditions)

    def _predictions(
        self, system: PublishedSystem, row: PublishedValue, conditions: tuple[str, ...]
    ) -> tuple[PredictionsStep, ...]:
        training = self.training(system, row.trained_on, row.target)
        is_own_test = row.test == row.trained_on and PLACES[row.test].predicts_test
        folds = [None] if is_own_test or training.num_folds == 1 else range(training.num_folds)
        predictions = [
            PredictionsStep(
                system=system.name,
                seed=seed,
                fold=fold,
                source=training
                if is_own_test
                else self._scoring(system, training, seed, fold or 0, row, conditions),
                dimensions=(row.target,) if system.single_task else DIMENSIONS,
            )
            for seed in training.seeds
            for fold in folds
        ]
        return self._best(training, predictions)

    def _best(
        self, training: TrainStep, predictions: Sequence[PredictionsStep]
    ) -> tuple[PredictionsStep, ...]:
        """Return the predictions of the best seed alone, where the table is about it."""
        if self.table.seeds != "best" or len(training.seeds) == 1:
            return tuple(predictions)
        choice = BestSeedStep(training=training, sources=tuple(p.source for p in predictions))
        return (replace(predictions[0], seed=None, source=choice),)

    def audit(self, row: PublishedValue) -> AuditStep:
        """Return the audit of all systems of the table that have a row like this one.

        Like it are those of the same training corpus and test, for emotions or for dimensions. A
        difference has an audit of its two systems alone, for an audit compares few in pairs.
        """
        rows = [other for other in self.table.rows if _is_alike(other, row)]
        conditions = _conditions(rows)
        compared = [row] if row.metric.endswith("cc_difference") else rows
        names = dict.fromkeys(name for r in compared for name in (r.system, r.against) if name)
        made = [name for name in names if self.is_made(name)]
        slices, strata = _slice_columns(rows)
        return AuditStep(
            corpus=self.corpus(row.test, row.target, dialogue_acts="dialogue_act" in strata),
            predictions=tuple(p for name in made for p in self.predictions(name, row, conditions)),
            slices=slices,
            strata=strata,
            smallest_slices=bool(strata),
            speaker_draws=any(r.metric == "concordance_cc_of_draws" for r in rows),
        )

    def is_made(self, name: str) -> bool:
        """Tell whether a system is one that is trained here, or votes."""
        system = self.system(name)
        return system.recipe is not None or bool(system.members)

    def _ensemble(
        self, system: PublishedSystem, row: PublishedValue, conditions: tuple[str, ...]
    ) -> tuple[PredictionsStep, ...]:
        """Let the members of an ensemble's recipe vote, each trained as by itself."""
        assert system.recipe is not None
        recipe, overrides = _load_ensemble_recipe_once(system.recipe, system.overrides)
        members = [
            replace(system, name=short, recipe=member, overrides=overrides[member])
            for member, short in zip(recipe.members, recipe.short_names, strict=True)
        ]
        return _votes(
            system.name, [self._predictions(m, row, conditions) for m in members], recipe.vote
        )

    def _scoring(
        self,
        system: PublishedSystem,
        training: TrainStep,
        seed: int,
        fold: int,
        row: PublishedValue,
        conditions: tuple[str, ...],
    ) -> ScoreStep:
        needs_noise = any(condition.needs_noise for condition in named(conditions))
        return ScoreStep(
            training=training,
            seed=seed,
            fold=fold,
            corpus=self.corpus(row.test, row.target),
            conditions=conditions,
            noise=NoiseStep() if needs_noise else None,
            transcripts=self.transcripts(row.test, system) if training.reads_text else None,
        )


def _votes(
    name: str, members: Sequence[tuple[PredictionsStep, ...]], vote: Vote | None
) -> tuple[PredictionsStep, ...]:
    """Let the first seeds of all members vote, then the second, as many as all of them have."""
    assert vote is not None
    return tuple(
        PredictionsStep(
            system=name,
            seed=together[0].seed,
            source=VoteStep(system=name, members=together, vote=vote),
        )
        for together in zip(*members, strict=False)
    )


def _last_of_each(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides that count, so that trainings are known to be the same.

    >>> _last_of_each(["task=dimensions", "seed=1", "task=valence"])
    ('task=valence', 'seed=1')
    """
    return tuple({override.partition("=")[0]: override for override in overrides}.values())


def in_order(wanted: Iterable[Step]) -> list[Step]:
    """Return steps and all that they need, each once, inputs first."""
    steps: dict[Step, None] = {}

    def visit(step: Step) -> None:
        if step not in steps:
            for needed in step.inputs:
                visit(needed)
            steps[step] = None

    for step in wanted:
        visit(step)
    return list(steps)


def _is_alike(one: PublishedValue, other: PublishedValue) -> bool:
    same_place = (one.trained_on, one.test) == (other.trained_on, other.test)
    return (
        same_place and (one.target == "emotion") == (other.target == "emotion") and bool(one.target)
    )


def _conditions(rows: Iterable[PublishedValue]) -> tuple[str, ...]:
    """Return the conditions of all rows, beside clean, one by one and in the catalogue's order."""
    words = {row.condition for row in rows}
    members = {name for word in words for name in SETS.get(word, ())}
    return tuple(
        name
        for name in known_names()
        if name != CLEAN and (name in members or any(fnmatchcase(name, word) for word in words))
    )


def _slice_columns(rows: Iterable[PublishedValue]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns whose slices are compared, and those whose slices are not."""
    slices: dict[str, None] = {}
    strata: dict[str, None] = {}
    for row in rows:
        column = row.slice.partition("=")[0]
        if not column or column in ("condition", "model_version", "speaker_id"):
            continue
        is_compared = f"-{column}=" in row.slice
        (slices if is_compared else strata)[column] = None
    return tuple(slices), tuple(strata)
