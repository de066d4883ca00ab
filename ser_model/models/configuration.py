"""Frozen dataclasses from plain mappings (JSON, YAML), checked field by field.

Model configurations and recipes are dataclasses; what a file says of them is checked here, so that
a misspelt or missing field is an error that names the known ones and never a silent default.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""1e-4 is a number to everybody but YAML, which wants 1.0e-4."""


def build(cls: type[T], mapping: object, path: str = "") -> T:
    """Build a dataclass from a mapping, nested ones included.

    Args:
        cls: a dataclass with fields of type bool, int, float, str, Literal, tuple[X, ...], X | None
            or another such dataclass, or a union of those, told apart by their field `kind`.
        mapping: what the file says.
        path: dotted name of the place in the file, for messages.

    Raises:
        ValueError: an unknown or missing field, or a value that its field does not take.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Layer:
        ...     size: int
        >>> build(Layer, {"size": 3})
        Layer(size=3)
        >>> build(Layer, {"sise": 3})
        Traceback (most recent call last):
        ...
        ValueError: sise is not known; known are: size
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f"{path or 'the whole'} must be a mapping, not {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # checked: only dataclasses come here
    hints = typing.get_type_hints(cls)
    for name in mapping:
        if name not in fields:
            raise ValueError(f"{_at(path, name)} is not known; known are: {', '.join(fields)}")
    values = {name: convert(hints[name], mapping[name], _at(path, name)) for name in mapping}
    for name, field in fields.items():
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if name not in values and not has_default:
            raise ValueError(f"{_at(path, name)} is missing")
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from error


def convert(kind: Any, value: object, path: str) -> Any:  # noqa: ANN401  any field's type
    """Return `value` as the type `kind`, or raise a ValueError that names `path`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in arguments:
            return None
        members = [argument for argument in arguments if argument is not types.NoneType]
        return convert(
            members[0] if len(members) == 1 else _chosen(members, value, path), value, path
        )
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{path} is {value!r}; allowed are: {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} must be a list, not {value!r}")
        return tuple(convert(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{path} must be of type {kind.__name__}, not {value!r}")
    return value


def _chosen(members: Sequence[Any], value: object, path: str) -> Any:  # noqa: ANN401  a dataclass
    """Return the dataclass whose field `kind` has the mapping's value as its default."""
    by_kind = {member.__dataclass_fields__["kind"].default: member for member in members}
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in by_kind:
        raise ValueError(f"{_at(path, 'kind')} is {kind!r}; allowed are: {', '.join(by_kind)}")
    return by_kind[kind]


def _at(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
