"""Which sounds a noise folder holds, and of what class each is: ESC-50, MUSAN, or one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ser_model import storage
from ser_model.schema import ConfigError
from ser_model.table_files import read_table_file

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
_ESC_50_TABLE = ("meta", "esc50.csv")
_MUSAN = ("music", "noise", "speech")

# The classes of ESC-50 (Piczak 2015), by its own groups.
_NATURAL = (
    "rain", "sea_waves", "crackling_fire", "crickets", "chirping_birds", "water_drops", "wind",
    "pouring_water", "toilet_flush", "thunderstorm",
)  # fmt: skip
_HUMAN = (
    "crying_baby", "sneezing", "clapping", "breathing", "coughing", "footsteps", "laughing",
    "brushing_teeth", "snoring", "drinking_sipping",
)  # fmt: skip
_INTERIOR = (
    "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks", "can_opening",
    "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick", "glass_breaking",
)  # fmt: skip
_EXTERIOR = (
    "helicopter", "chainsaw", "siren", "car_horn", "engine", "train", "church_bells", "airplane",
    "fireworks", "hand_saw",
)  # fmt: skip

KINDS: dict[str, frozenset[str]] = {
    "natural": frozenset({"natural", *_NATURAL}),
    "human": frozenset({"human", *_HUMAN}),
    "interior": frozenset({"interior", *_INTERIOR}),
    "environmental": frozenset({"environmental", "noise", *_NATURAL, *_INTERIOR, *_EXTERIOR}),
    "music": frozenset({"music"}),
    "speech": frozenset({"speech"}),
    "cough": frozenset({"cough", "coughing"}),
    "sneeze": frozenset({"sneeze", "sneezing"}),
}
"""The classes that conditions ask for by one word; the word itself is a class too."""

ADVICE = (
    "ESC-50 (https://github.com/karolpiczak/ESC-50: meta/esc50.csv, audio/) has natural, human, "
    "interior, environmental, cough and sneeze; MUSAN (https://www.openslr.org/17: music/, noise/, "
    "speech/) has music, speech and environmental; unpack them side by side in one folder, or "
    "make subfolders named by class, or a table with the columns file and class"
)
"""What messages say about where noise comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A file of noise.

    Attributes:
        path: below the noise folder.
        noise_class: lower case, words joined by "_".
    """

    path: str
    noise_class: str


def find_sounds(folder: str) -> tuple[Sound, ...]:
    """Return the sounds below a folder, sorted by path.

    A table decides about the files that it names, and may name one under several classes; the
    class of any other file below `music`, `noise` or `speech` of MUSAN is that name, and else the
    name of the folder that it lies in.

    Raises:
        ConfigError: there are none, or a table names a file that is not there.
        ManifestError: a table cannot be read.
        OSError: the folder cannot be listed.
    """
    paths = storage.list_files(folder)
    found = {(path, _spelt(noise_class)) for path, noise_class in _in_tables(folder, paths)}
    in_tables = {path for path, _ in found}
    musan = _musan_folders(paths)
    for path in paths:
        parts = PurePosixPath(path).parts
        if len(parts) > 1 and path not in in_tables and _is_audio(path):
            found.add((path, _spelt(_class_by_folder(parts, musan))))
    if not found:
        raise ConfigError(f"{folder} holds no sounds of a known class: {ADVICE}")
    return tuple(Sound(path=path, noise_class=noise_class) for path, noise_class in sorted(found))


def _in_tables(folder: str, paths: list[str]) -> Iterator[tuple[str, str]]:
    """Yield path and class of the files that tables name."""
    known = set(paths)
    for table_path in paths:
        parts = PurePosixPath(table_path).parts
        is_esc_50 = parts[-2:] == _ESC_50_TABLE
        if not is_esc_50 and not (table_path.endswith(".csv") and len(parts) <= 2):
            continue
        uri = storage.join(folder, table_path)
        table = read_table_file(uri)
        columns = ("filename", "category") if is_esc_50 else ("file", "class")
        if not set(columns) <= set(table.column_names):
            continue
        beside = PurePosixPath(*parts[:-2], "audio") if is_esc_50 else PurePosixPath(*parts[:-1])
        files, classes = (table[column].to_pylist() for column in columns)
        for row, (file, noise_class) in enumerate(zip(files, classes, strict=True), start=1):
            path = str(beside / file) if file else ""
            if path not in known or not noise_class:
                raise ConfigError(
                    f"{uri}, row {row}: {columns[0]} {file!r} of {columns[1]} {noise_class!r} is "
                    f"not there, or has no class; complete {storage.join(folder, str(beside))}"
                )
            yield path, noise_class


def _musan_folders(paths: list[str]) -> set[tuple[str, ...]]:
    """Return the folders that hold at least two of MUSAN's three."""
    held: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        parts = PurePosixPath(path).parts[:-1]
        for depth, part in enumerate(parts):
            if part in _MUSAN:
                held.setdefault(parts[:depth], set()).add(part)
    return {folder for folder, classes in held.items() if len(classes) > 1}


def _class_by_folder(parts: tuple[str, ...], musan: set[tuple[str, ...]]) -> str:
    for depth, part in enumerate(parts[:-1]):
        if part in _MUSAN and parts[:depth] in musan:
            return part
    return parts[-2]


def _is_audio(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS)


def _spelt(noise_class: str) -> str:
    return noise_class.strip().lower().replace(" ", "_").replace("-", "_")
