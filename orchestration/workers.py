"""What the dispatcher knows of an actor: what it has been given, and whether it is up."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError

from orchestration.shard_plan import Exclusion, ShardTask
from ser_model.schema import InputError, Reason

logger = logging.getLogger(__name__)

LOAD_AGAIN_AFTER_S = 1.0
"""An actor that died is asked this often whether it is back."""

MAX_FAILED_LOADS = 3
"""An actor that is up and cannot load its model this many times in turn is given up."""

ActorHandle: TypeAlias = Any
"""Ray's handle of an actor, which has no useful static type."""

ObjectRef: TypeAlias = Any
"""Ray's name of a result that is still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A shard, or one segment of it, that an actor was given.

    Attributes:
        task: the shard.
        submitted_s: when, by time.monotonic().
        alone: whether the actor gets nothing else meanwhile.
        segment_id: of quarantine, the one segment that is tried; None for the whole shard.
    """

    task: ShardTask
    submitted_s: float
    alone: bool = False
    segment_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Worker:
    """An actor, and what it has been given.

    It begins as one that is down: the first `load` says when its model is loaded.

    Attributes:
        actor: Ray's handle.
        calls: what it holds, in the order in which it was given.
        loading: the call that tells when it is up.
        load_at_s: when to ask it next, by time.monotonic(); None where it is up or was asked.
        num_failed_loads: loads in turn that its model's source let fail.
        last_end_s: when it last ended a shard.
    """

    actor: ActorHandle
    calls: dict[ObjectRef, Call] = field(default_factory=dict)
    loading: ObjectRef | None = None
    load_at_s: float | None = 0.0
    num_failed_loads: int = 0
    last_end_s: float = 0.0

    def refs(self) -> list[ObjectRef]:
        """Return all that it may answer."""
        return [*self.calls, *([] if self.loading is None else [self.loading])]

    def is_up(self) -> bool:
        """Tell whether it can be given work."""
        return self.loading is None and self.load_at_s is None

    def is_idle(self) -> bool:
        """Tell whether it is up and holds nothing."""
        return self.is_up() and not self.calls

    def has_room(self, max_calls: int) -> bool:
        """Tell whether it may get another shard beside what it holds."""
        holds_alone = any(call.alone for call in self.calls.values())
        return self.is_up() and len(self.calls) < max_calls and not holds_alone

    def ask(self) -> None:
        """Ask it to load its model where that is due."""
        if self.load_at_s is not None and time.monotonic() >= self.load_at_s:
            self.loading, self.load_at_s = self.actor.load.remote(), None

    def mark_down(self) -> None:
        """Note that it died: it gets nothing until it has loaded its model again."""
        if self.is_up():
            # Not at once: Ray may not have seen the death yet, or not have ended what we restart.
            self.load_at_s = time.monotonic() + LOAD_AGAIN_AFTER_S

    def restart(self) -> list[Call]:
        """End its process and let Ray start another; return what it held."""
        calls = list(self.calls.values())
        self.calls.clear()
        self.loading = None
        ray.kill(self.actor, no_restart=False)
        self.load_at_s = time.monotonic() + LOAD_AGAIN_AFTER_S
        return calls

    def end_loading(self) -> bool:
        """Take what asking it to load ended with; False where it is to be given up.

        Raises:
            InputError: as the model's source raised it.
        """
        loading: ObjectRef = self.loading
        self.loading = None
        try:
            ray.get(loading)
            self.num_failed_loads = 0
        except RayTaskError as error:
            raise_if_input(error)
            self.num_failed_loads += 1
            self.mark_down()
            logger.warning("a worker cannot load its model: %s", error.cause)
        except RayError:
            self.mark_down()  # not back yet
        return self.num_failed_loads < MAX_FAILED_LOADS


def raise_if_input(error: RayTaskError) -> None:
    """Raise what a worker raised, where it means that the input is broken."""
    if isinstance(error.cause, InputError):
        raise error.cause from error


def explain(error: RayError) -> Exclusion:
    """Say what became of a call, in words that are the same each time: they may end in a row.

    Also where it was a decoder that died, not the worker itself, a RayError is the cause.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, RayError):
        return Exclusion(reason=Reason.KILLED_WORKER, detail="its worker died")
    first_line = str(cause).partition("\n")[0]
    return Exclusion(reason=Reason.MODEL_FAILED, detail=f"{type(cause).__name__}: {first_line}")
