"""The published values of the papers' tables and figures, read from `published/`.

A file holds a table or figure: `published/gavali/table4.yaml` is the table "gavali/table4".
Numbers stand there as they are printed, and only those that are: a figure that is drawn without
numbers has rows without a value, beside which ours stand alone. What most rows of a file share
stands once, under `every_row`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal, TypeAlias

import yaml

from orchestration.reproduce.published_metrics import metric_of
from ser_model.models.configuration import build
from ser_model.schema import CLEAN, DIMENSIONS, ConfigError

Unit: TypeAlias = Literal["one", "percent", "range 1:5", "range 1:7"]

SCALES: dict[Unit, float] = {
    "one": 1.0,
    "percent": 0.01,
    "range 1:5": 1 / 4**2,
    "range 1:7": 1 / 6**2,
}
"""What one of a printed unit is here; of a range it is a squared error, here of 0 to 1."""

CORPORA: dict[str, tuple[str, ...]] = {
    "msp-podcast": ("train", "dev", "test-1", "test-2"),
    "iemocap": ("leave-one-speaker-out",),
    "cmu-mosi": ("test",),
    "ravdess": ("random-80-20", "speaker-disjoint"),
    "emotyda": (),
    "esc50": (),
}
"""The parts that papers train on or test with, by the names of the readers (with - for _). EMOTyDA
has the dialogue acts of IEMOCAP; ESC-50 is the noise of Wagner's augmentations."""

ALL = "all"
"""In place of a test or a target: the mean over all of the table; of embeddings, all together."""

_TARGETS = ("", *DIMENSIONS, "emotion", "embedding", ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSource:
    """Where a table stands.

    Attributes:
        paper: authors, year, title, where it appeared.
        place: the table or figure in it.
    """

    paper: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSystem:
    """What a row is about: a way to train, a vote of several, or what the paper compares with.

    Attributes:
        name: by which rows know it.
        recipe: of Serval, of a model or of an ensemble; None for what is no recipe.
        overrides: of the recipe, as of `serval train --set`.
        single_task: whether each target has a training of its own, with `task=TARGET`.
        backbone_from: another system of the table; this one begins with its trained backbone.
        members: other systems of the table that vote.
        vote: how they do.
        transcripts: URI of the model that transcribes all that is read; "" for the corpus's own
            transcripts, where it has some.
        note: what else is to be known; what it is, where it is neither recipe nor vote.
    """

    name: str
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    single_task: bool = False
    backbone_from: str = ""
    members: tuple[str, ...] = ()
    vote: Literal["hard", "soft", "mean"] | None = None
    transcripts: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be told how to make."""
        if self.recipe is not None and self.members:
            raise ValueError(f"system {self.name}: it has a recipe or members, not both")
        of_training = (self.overrides, self.single_task, self.backbone_from, self.transcripts)
        if self.recipe is None and any(of_training):
            raise ValueError(f"system {self.name}: what it says of a training needs a recipe")
        if bool(self.members) != (self.vote is not None):
            raise ValueError(f"system {self.name}: members need a vote, and a vote needs members")
        if self.recipe is None and not self.members and not self.note:
            raise ValueError(f"system {self.name}: say in its note what it is")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedValue:
    """A number of a table, or a place in a figure where one is drawn.

    Attributes:
        system: name of a system of the table.
        against: of a difference, the system that it is held against.
        trained_on: corpus or corpus/part; "" where the table is not about a training of ours.
        test: likewise, or "all".
        target: a dimension, "emotion", "embedding", "all" or "".
        metric: one that `published_metrics` knows.
        condition: as of an audit. The name of a set (`wagner`) or of a family (`human-*db`) is the
            mean over its conditions.
        slice: as in `statistics.parquet`; "dialogue_act=*" without a value is for each such slice.
        value: as it is printed, in `unit`; None where it is drawn, not printed.
        standard_deviation: over trainings with other seeds, in `unit`.
        p_value: of the test that belongs to the metric.
        differs_from: systems of the table from which its value differs, as the paper says with a
            two-sided t-test over trainings at .05.
        unit: of `value` and `standard_deviation`.
        place: in the paper, where it is not that of the table.
        added: whether the row is ours and not in the paper; it has no value then.
    """

    system: str
    against: str = ""
    trained_on: str = ""
    test: str = ""
    target: str = ""
    metric: str
    condition: str = CLEAN
    slice: str = ""
    value: float | None
    standard_deviation: float | None = None
    p_value: float | None = None
    differs_from: tuple[str, ...] = ()
    unit: Unit = "one"
    place: str = ""
    added: bool = False

    def __post_init__(self) -> None:
        """Refuse what no audit or training could say."""
        metric = metric_of(self.metric)
        scaled = self.scaled_value
        if scaled is not None and not metric.low <= scaled <= metric.high:
            raise ValueError(f"{self.metric} is {scaled}, not {metric.low} to {metric.high}")
        if self.standard_deviation is not None and self.standard_deviation < 0.0:
            raise ValueError(f"standard_deviation {self.standard_deviation} is negative")
        if self.p_value is not None and not 0.0 <= self.p_value <= 1.0:
            raise ValueError(f"p_value {self.p_value} is not in [0, 1]")
        if self.unit.startswith("range") and self.metric != "mean_squared_error":
            raise ValueError(f"unit {self.unit!r} is for mean_squared_error, not {self.metric}")
        if self.target not in _TARGETS:
            raise ValueError(f"target {self.target!r} is none of {', '.join(_TARGETS[1:])}")
        if self.added and (self.value is not None or self.place):
            raise ValueError("added: a row that is not in the paper has no value and no place")
        if self.slice.endswith("=*") and (self.value is not None or self.p_value is not None):
            raise ValueError(f"slice {self.slice!r} is for rows without a number")

    @property
    def scaled_value(self) -> float | None:
        """The value as Serval's metrics have it.

        >>> PublishedValue(system="a", metric="accuracy", value=93.0, unit="percent").scaled_value
        0.93
        """
        return None if self.value is None else self.value * SCALES[self.unit]

    @property
    def scaled_deviation(self) -> float | None:
        """The standard deviation likewise."""
        if self.standard_deviation is None:
            return None
        return self.standard_deviation * SCALES[self.unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """A table or figure of a paper.

    Attributes:
        table: its name, "gavali/table4".
        title: what it holds, in one line.
        source: where it stands.
        needs: names of CORPORA.
        shows: what the paper concludes from it, in one sentence.
        notes: in what a reproduction may differ, and doubts about what is printed.
        seeds: of several trainings of a system, "mean" for the mean over all, "best" for the one
            that is best on dev.
        systems: that its rows are about.
        rows: its numbers.
    """

    table: str
    title: str
    source: PublishedSource
    needs: tuple[str, ...]
    shows: str
    notes: tuple[str, ...]
    seeds: Literal["mean", "best"] = "mean"
    systems: tuple[PublishedSystem, ...]
    rows: tuple[PublishedValue, ...]

    def __post_init__(self) -> None:
        """Refuse unknown corpora, systems that are not there or not used, and rows twice."""
        for corpus in self.needs:
            if corpus not in CORPORA:
                raise ValueError(f"needs: {_no_corpus(corpus)}")
        _check_systems(self.systems, self.rows)
        counts = Counter(_key(row) for row in self.rows)
        for row in self.rows:
            for place in (row.trained_on, row.test):
                self._check_place(place)
            if counts[_key(row)] > 1:
                raise ValueError(f"rows: {', '.join(filter(None, _key(row)))} is there twice")

    def _check_place(self, place: str) -> None:
        if place in ("", ALL):
            return
        corpus, _, part = place.partition("/")
        if corpus not in CORPORA:
            raise ValueError(_no_corpus(corpus))
        if corpus not in self.needs:
            raise ValueError(f"corpus {corpus} is used and not in needs")
        if part and part not in CORPORA[corpus]:
            raise ValueError(f"{corpus} has no part {part!r}; it has: {', '.join(CORPORA[corpus])}")


def list_published() -> list[str]:
    """Return the names of all tables, sorted.

    >>> "gavali/table4" in list_published()
    True
    """
    return sorted(
        f"{paper.name}/{file.name.removesuffix('.yaml')}"
        for paper in _folder().iterdir()
        if paper.is_dir()
        for file in paper.iterdir()
        if file.name.endswith(".yaml")
    )


def read_published(name: str) -> PublishedTable:
    """Read a table.

    Raises:
        ConfigError: there is no table of this name.
        ValueError: its file says what cannot be; the message names file and field.

    Example:
        >>> read_published("gavali/table4").source.place
        'Table 4'
    """
    if name not in list_published():
        raise ConfigError(f"no table {name!r}; there are: {', '.join(list_published())}")
    file = _folder().joinpath(f"{name}.yaml")
    try:
        mapping = yaml.safe_load(file.read_text(encoding="utf-8"))
        shared = mapping.pop("every_row", {})
        mapping["rows"] = [{**shared, **row} for row in mapping["rows"]]
        table = build(PublishedTable, mapping)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"published/{name}.yaml: {error}") from error
    if table.table != name:
        raise ValueError(f"published/{name}.yaml: table is {table.table!r}, not its file's name")
    return table


def _folder() -> Traversable:
    return resources.files("orchestration.reproduce") / "published"


def _key(row: PublishedValue) -> tuple[str, ...]:
    """Return what tells a row from the others of its table."""
    where = (row.trained_on, row.test, row.target)
    return (row.system, row.against, *where, row.metric, row.condition, row.slice)


def _no_corpus(name: str) -> str:
    return f"corpus {name!r} is not known; known are: {', '.join(CORPORA)}"


def _check_systems(systems: Iterable[PublishedSystem], rows: Iterable[PublishedValue]) -> None:
    declared = Counter(system.name for system in systems)
    used = {name for row in rows for name in (row.system, row.against, *row.differs_from) if name}
    used |= {name for system in systems for name in (system.backbone_from, *system.members) if name}
    for name, count in declared.items():
        if count > 1 or name not in used:
            why = "is there twice" if count > 1 else "is used by no row"
            raise ValueError(f"systems: {name} {why}")
    if missing := sorted(used - set(declared)):
        raise ValueError(f"systems: {', '.join(missing)} is used and not listed")
