from dataclasses import dataclass
from typing import Literal

import pytest

from ser_model.models.configuration import build


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    rate: float
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate {self.rate} is negative")


def test_nested_values_are_built_and_whole_numbers_serve_as_floats() -> None:
    built = build(Outer, {"inner": {"sizes": [1, 2]}, "rate": 1, "limit": 3})
    assert built == Outer(inner=Inner(sizes=(1, 2), kind="a"), rate=1.0, limit=3)
    assert isinstance(built.rate, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([], "the whole must be a mapping"),
        ({"inner": {"sizes": []}}, "rate is missing"),
        ({"rate": 1.0}, "inner is missing"),
        ({"inner": {"size": []}, "rate": 1.0}, "inner.size is not known; known are: sizes, kind"),
        ({"inner": {"sizes": 3}, "rate": 1.0}, "inner.sizes must be a list, not 3"),
        ({"inner": {"sizes": [1, "2"]}, "rate": 1.0}, r"inner.sizes\[1\] must be of type int"),
        ({"inner": {"sizes": [True]}, "rate": 1.0}, r"inner.sizes\[0\] must be of type int"),
        ({"inner": {"sizes": [], "kind": "c"}, "rate": 1.0}, "inner.kind is 'c'; allowed are: a"),
        ({"inner": {"sizes": []}, "rate": True}, "rate must be of type float, not True"),
        ({"inner": {"sizes": []}, "rate": -1.0}, "rate -1.0 is negative"),
        ({"inner": {"sizes": []}, "rate": 1.0, "limit": "x"}, "limit must be of type int"),
    ],
)
def test_what_does_not_fit_is_named(mapping: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Outer, mapping)


@dataclass(frozen=True)
class Other:
    kind: Literal["other"] = "other"
    depth: int = 1


@dataclass(frozen=True)
class Choice:
    part: Inner | Other


def test_the_kind_tells_the_members_of_a_union_apart() -> None:
    assert build(Choice, {"part": {"kind": "other", "depth": 2}}).part == Other(depth=2)
    assert build(Choice, {"part": {"kind": "a", "sizes": [1]}}).part == Inner(sizes=(1,))


@pytest.mark.parametrize("part", [{"kind": "c"}, {"depth": 2}, 3, None])
def test_a_kind_that_is_not_known_is_named(part: object) -> None:
    with pytest.raises(ValueError, match=r"part.kind is .*; allowed are: a, other"):
        build(Choice, {"part": part})
