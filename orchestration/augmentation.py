"""The conditions of a run: which, and what they draw from; so that any worker makes the same ones.

Conditions are no part of a run's identity, for more of them may be added to it. What the rows of a
condition depend on is written down beside it, by who first needs it, and holds from then on:

    RUN/conditions/seed.json     of all that is random; needed by any condition but clean
    RUN/conditions/noise.json    the noise folder; needed by conditions that mix in its sounds
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ser_model import storage
from ser_model.augment import Condition, NoiseFolder, conditions, known_names, named
from ser_model.schema import CLEAN, ConfigError, RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Conditions by their names: a small record that travels to workers.

    Attributes:
        names: of the conditions; `clean` first, then in the order of the catalogue.
        seed: of all that is random in them.
        noise_uri: the noise folder; None where no condition needs one.
        noise_sha256: what its list of sounds hashes to; None likewise.
    """

    names: tuple[str, ...] = (CLEAN,)
    seed: int = 0
    noise_uri: str | None = None
    noise_sha256: str | None = None

    def load(self) -> dict[str, Condition]:
        """Return the conditions by name, ready to be applied.

        Raises:
            ConfigError: a package is missing here, or the noise folder is not the same here.
            OSError: the noise folder cannot be listed.
        """
        noise = None if self.noise_uri is None else NoiseFolder.open(self.noise_uri)
        if noise is not None and noise.sha256 != self.noise_sha256:
            raise ConfigError(
                f"{self.noise_uri} holds other sounds here than where the run was started: every "
                "machine that scores must see the same noise folder, and it must not change"
            )
        return {condition.name: condition for condition in conditions(self.names, noise)}

    def record(self, run_uri: str) -> None:
        """Write down in a run what its conditions depend on, or find that it is the same.

        Raises:
            RunError: conditions of the run were made with another seed or another noise folder.
        """
        if self.names == (CLEAN,):
            return
        _record(run_uri, "seed", {"seed": self.seed}, same="seed")
        if self.noise_uri is not None:
            noise = {"uri": self.noise_uri, "sha256": self.noise_sha256}
            _record(run_uri, "noise", noise, same="sha256")


CLEAN_ALONE = Augmentation()
"""No condition beside clean."""


def resolve_augmentation(
    names: Sequence[str], *, noise_uri: str | None = None, seed: int = 0
) -> Augmentation:
    """Return what names of conditions and of sets mean; `clean` is always among it.

    Args:
        names: in any order, any number of times.
        noise_uri: the noise folder; it is opened only if a condition needs it.
        seed: of all that is random.

    Raises:
        ConfigError: a name is unknown, a package is missing, or sounds are.
        OSError: the noise folder cannot be listed.

    >>> resolve_augmentation(["clipping-1pct", "fade", "fade"]).names
    ('clean', 'fade', 'clipping-1pct')
    """
    wanted = in_order(condition.name for condition in named([CLEAN, *names]))
    needs_noise = any(condition.needs_noise for condition in named(wanted))
    noise = NoiseFolder.open(noise_uri) if needs_noise and noise_uri is not None else None
    conditions(wanted, noise)  # now, not at the first worker, it shows what is missing
    return Augmentation(
        names=wanted,
        seed=seed,
        noise_uri=None if noise is None else noise.uri,
        noise_sha256=None if noise is None else noise.sha256,
    )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of conditions in the order of the catalogue, each once."""
    wanted = set(names)
    return tuple(name for name in known_names() if name in wanted)


def recorded(run_uri: str) -> dict[str, object]:
    """Return what is written down in a run of its conditions, for run.json."""
    folder = storage.join(run_uri, "conditions")
    names = storage.list_names(folder)
    found: dict[str, object] = {}
    if "seed.json" in names:
        found |= storage.read_json(storage.join(folder, "seed.json"))
    if "noise.json" in names:
        found["noise"] = storage.read_json(storage.join(folder, "noise.json"))
    return found


def _record(run_uri: str, name: str, wanted: Mapping[str, object], *, same: str) -> None:
    uri = storage.join(run_uri, "conditions", f"{name}.json")
    if storage.create_if_absent(uri, storage.to_json_bytes(wanted)):
        return
    found = storage.read_json(uri)
    if found.get(same) != wanted[same]:
        what = "seed" if name == "seed" else "noise folder"
        raise RunError(
            f"{run_uri} has conditions that were made with another {what} (there "
            f"{_shown(found)}, now {_shown(wanted)}); give that one, or choose another --output"
        )


def _shown(record: Mapping[str, object]) -> str:
    if "seed" in record:
        return str(record["seed"])
    return f"{record.get('uri')}, list of sounds {str(record.get('sha256'))[:12]}..."
