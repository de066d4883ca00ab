"""Configurations that people write: YAML files, checked field by field, with lines in messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import yaml

from ser_model import storage
from ser_model.models.configuration import build
from ser_model.schema import ConfigError

T = TypeVar("T")

MAX_BYTES = 1 << 20


def read_config_file(cls: type[T], uri: str) -> T:
    """Read a YAML file into a dataclass.

    Args:
        cls: a dataclass that `ser_model.models.configuration.build` builds.
        uri: the file.

    Raises:
        ConfigError: the file cannot be read, a key stands there twice, or a field is unknown,
            missing or has a value that it does not take. The message names file, line and field,
            and what is allowed.
    """
    try:
        data = storage.read_bytes(uri, max_bytes=MAX_BYTES)
        # Twice: as values, and as places in the file. Neither makes objects other than plain ones.
        content, tree = yaml.safe_load(data), yaml.compose(data, Loader=yaml.SafeLoader)
        lines = dict(_lines(tree, "", set()))
    except FileNotFoundError as error:
        raise ConfigError(f"{uri} does not exist") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{uri}: {error}") from error
    try:
        return build(cls, content)
    except ValueError as error:
        line = _line_of(str(error), lines)
        raise ConfigError(f"{uri}, line {line}: {error}") from error


def _lines(node: yaml.Node | None, path: str, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Yield each place in a file as `build` names it, "corpora[0].name", and its line."""
    if node is None or id(node) in seen:  # an alias: where it was written first
        return
    seen.add(id(node))
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, f"{path}[{number}]", seen)
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in keys:
                raise ValueError(f"line {line}: {name} stands there twice")
            keys.add(name)
            place = f"{path}.{name}" if path else name
            for inside, inside_line in _lines(value, place, seen):
                yield inside, line if inside == place else inside_line


def _line_of(message: str, lines: dict[str, int]) -> int:
    """Return the line of the place that a message begins with, or of what it would be in."""
    place = message.split(" ", 1)[0].rstrip(":")
    while place and place not in lines:
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return lines.get(place, 1)
