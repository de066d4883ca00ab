"""A step: what it needs, by which key it is known again, where it writes, and what it takes."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestration.reproduce.corpora import Corpora
from ser_model import storage

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What running a step takes, and its result does not depend on.

    Attributes:
        work: folder of all steps, a path or a URI.
        corpora: that were given.
        devices: auto, cpu or cuda.
        num_workers: processes that train together, or that score; 1 for this process alone.
    """

    work: str
    corpora: Corpora
    devices: str = "auto"
    num_workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """One step of a plan; equal steps are one, in whatever table they stand.

    Attributes:
        kind: folder of all steps of this kind.
        verb: what it does, in front of its name.
    """

    kind: ClassVar[str]
    verb: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """What people know it by; part of its folder's name."""

    @property
    @abstractmethod
    def content(self) -> Mapping[str, object]:
        """All that decides the result beside the inputs, as JSON."""

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The steps that must be done before."""
        return ()

    @property
    def petaflop(self) -> float:
        """How much arithmetic it takes."""
        return 0.0

    @property
    def note(self) -> str:
        """What a reader of the table has to know of it; "" for nothing."""
        return ""

    @property
    def title(self) -> str:
        """What it does, in a line for people."""
        return f"{self.verb} {self.name}"

    @property
    def key(self) -> str:
        """The SHA-256 of all that decides the result."""
        content = {
            "kind": self.kind,
            "content": self.content,
            "inputs": [step.key for step in self.inputs],
        }
        return hashlib.sha256(storage.to_json_bytes(content)).hexdigest()

    def folder(self, work: str) -> str:
        """Return the folder that it writes."""
        name = _NOT_IN_NAMES.sub("-", self.name)
        return storage.join(work, self.kind, f"{name[:60]}-{self.key[:16]}")

    def without(self, failed: Container[Step]) -> Step | None:
        """Return the step as it can be done without some inputs; None where it needs them all.

        Args:
            failed: the inputs that there are not.
        """
        del failed
        return None

    @abstractmethod
    def run(self, context: Context) -> None:
        """Do it; begun before, it goes on.

        Raises:
            InputError: it cannot be done, and why.
            TooManyRejectedError: likewise.
            UnfinishedError: it could not finish; the same again resumes.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictingStep(Step):
    """A step that leaves predictions: a training with a test of its own, a run, a vote."""

    @abstractmethod
    def predictions(self, work: str, seed: int | None) -> str:
        """Return the run or file of predictions of a seed; of the only ones for None."""
