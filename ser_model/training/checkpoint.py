"""Checkpoints: where a training was, so that a killed one goes on to the same weights bit for bit.

    FOLDER/progress.json              counters and history; names the tensors by their SHA-256
    FOLDER/state-{0,1}.safetensors    weights and the optimiser's state, in turns
    FOLDER/best-{0,1}.safetensors     the best weights on dev, in turns

`progress.json` is replaced last, in one step, and until then names files that are still there:
the new ones are written over those of the checkpoint before the last. Random numbers need no
place: those of a step follow from the recipe's seed and the number of the step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ser_model import storage
from ser_model.schema import RunError

PROGRESS_NAME = "progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One line of the history: a look at dev.

    Attributes:
        epoch: that was under way or had just ended, counted from 1.
        step: how many steps had been taken.
        loss: mean over the training batches since the last look.
        dev: metrics on the whole of dev, by name; `selection` is what the best weights have the
            highest of. NaN where the truth of dev does not vary.
        elapsed_s: since the training began, on the clock: steps and looks at dev, not the reading
            of audio; the parts of one that was killed add up. None where nobody looked at a clock.
    """

    epoch: int
    step: int
    loss: float
    dev: dict[str, float]
    elapsed_s: float | None = field(default=None, compare=False)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a training is.

    Attributes:
        epoch: epochs that are done.
        step_in_epoch: steps of the next one that are done.
        step: steps in all.
        losses: of the batches since the last look at dev.
        history: all looks at dev.
        best: which line of the history has the best weights; None before one has any.
        finished: whether there is nothing left to train.
        elapsed_s: that it took so far.
        machines: on which; several where it was resumed on another.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[Evaluation] = field(default_factory=list)
    best: int | None = None
    finished: bool = False
    elapsed_s: float = 0.0
    machines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a checkpoint holds.

    Attributes:
        progress: where the training is.
        weights: of the model, by name.
        optimiser: its tensors, by name.
        best_weights: empty before there are any.
    """

    progress: Progress
    weights: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    best_weights: Mapping[str, Tensor]


class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: a path or a URI.
        every_s: seconds between two checkpoints within an epoch; there is one after each in any
            case. 0 for one after each step.
    """

    def __init__(self, folder: str, identity: Mapping[str, Any], *, every_s: float = 600.0) -> None:
        """Name the place.

        Args:
            folder: of this training's checkpoints alone.
            identity: all that decides the weights, as JSON values; a resume of another is refused.
            every_s: seconds between two.
        """
        self.folder = folder
        self.every_s = every_s
        self._identity = dict(identity)
        self._slot = 0
        nothing = {"slot": 1, "sha256": None, "num_bytes": 0}
        self._best: tuple[int | None, dict[str, Any]] = (None, nothing)

    def save(self, state: State) -> None:
        """Write a checkpoint in place of the one before the last."""
        best_of, best = self._best
        if state.best_weights and best_of != state.progress.best:
            slot = 1 - best["slot"]
            best = self._write("best", slot, state.best_weights)
        self._slot = 1 - self._slot
        tensors = {f"model.{name}": value for name, value in state.weights.items()}
        tensors |= {f"optimiser.{name}": value for name, value in state.optimiser.items()}
        record = {
            "identity": self._identity,
            "progress": to_json(dataclasses.asdict(state.progress)),
            "state": self._write("state", self._slot, tensors),
            "best": best,
        }
        storage.write_json(storage.join(self.folder, PROGRESS_NAME), record)
        self._best = (state.progress.best, best)

    def load(self) -> State | None:
        """Read the last checkpoint; None where there is none.

        Raises:
            RunError: it is of another training, or damaged.
        """
        uri = storage.join(self.folder, PROGRESS_NAME)
        try:
            record = storage.read_json(uri)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RunError(f"{uri} is no checkpoint; delete {self.folder}") from error
        self._check(record["identity"])
        tensors = self._read("state", record["state"])
        best = self._read("best", record["best"]) if record["best"]["sha256"] else {}
        progress = _progress(record["progress"])
        self._slot, self._best = record["state"]["slot"], (progress.best, record["best"])
        return State(
            progress=progress,
            weights=_below("model.", tensors),
            optimiser=_below("optimiser.", tensors),
            best_weights=best,
        )

    def history(self) -> list[Evaluation]:
        """Return the history of the last checkpoint, for who only looks on."""
        uri = storage.join(self.folder, PROGRESS_NAME)
        return _progress(storage.read_json(uri)["progress"]).history if storage.exists(uri) else []

    def delete(self) -> None:
        """Delete the checkpoints of a training that is done; on an object store they stay."""
        path = storage.local_path(self.folder)
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)

    def _check(self, found: Mapping[str, Any]) -> None:
        names = sorted(self._identity.keys() | found.keys())
        differing = [name for name in names if self._identity.get(name) != found.get(name)]
        if differing:
            raise RunError(
                f"{self.folder} holds a training that was begun otherwise ({', '.join(differing)} "
                "differ) and cannot be resumed; choose another --output, or delete that folder"
            )

    def _write(self, kind: str, slot: int, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        own = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        data = safetensors.torch.save(own)
        storage.write_atomic(storage.join(self.folder, f"{kind}-{slot}.safetensors"), data)
        sha256 = hashlib.sha256(data).hexdigest()
        return {"slot": slot, "sha256": sha256, "num_bytes": len(data)}

    def _read(self, kind: str, entry: Mapping[str, Any]) -> dict[str, Tensor]:
        uri = storage.join(self.folder, f"{kind}-{entry['slot']}.safetensors")
        try:
            data = storage.read_bytes(uri, max_bytes=entry["num_bytes"])
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ValueError("it is not the file that progress.json speaks of")
            return safetensors.torch.load(data)
        except (OSError, ValueError, SafetensorError) as error:
            raise RunError(
                f"{uri} cannot be used ({error}); delete {self.folder} to begin anew"
            ) from error


def to_json(value: Any) -> Any:  # noqa: ANN401  JSON is untyped
    """Return a value as JSON can say it: tuples become lists, NaN and infinity null.

    >>> to_json({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        return None
    return value


def read_history(lines: Sequence[Mapping[str, Any]]) -> list[Evaluation]:
    """Return a history from JSON; null is NaN again.

    >>> read_history([{"epoch": 1, "step": 9, "loss": 0.5, "dev": {"selection": None}}])[0].dev
    {'selection': nan}
    """
    return [
        Evaluation(
            **{
                **line,
                "dev": {k: float("nan") if v is None else v for k, v in line["dev"].items()},
            }
        )
        for line in lines
    ]


def _progress(record: Mapping[str, Any]) -> Progress:
    return Progress(**{**record, "history": read_history(record["history"])})


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
