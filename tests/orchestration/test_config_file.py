"""Configurations: what is refused is named by file, line and field."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestration.config_file import MAX_BYTES, read_config_file
from ser_model.schema import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int
    low: float = 0.0

    def __post_init__(self) -> None:
        if self.low < 0:
            raise ValueError(f"low is {self.low}; allowed are 0 and more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    other: Inner | None = None


WHOLE = """\
name: a
inner:
  - size: 1
  - {size: 2, low: 0.5}
"""


def test_a_configuration_is_built(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(WHOLE)
    assert read_config_file(Outer, str(path)) == Outer(
        name="a", inner=(Inner(size=1), Inner(size=2, low=0.5))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WHOLE + "nane: b\n", r"line 5: nane is not known; known are: name, inner, other"),
        (WHOLE + "  - size: x\n", r"line 5: inner\[2\]\.size must be of type int, not 'x'"),
        (WHOLE + "  -\n    low: 1\n", r"line 6: inner\[2\]\.size is missing"),
        (WHOLE + "  - size: 3\n    low: -1\n", r"line 5: inner\[2\]: low is -1.0; allowed are 0"),
        (WHOLE + "other:\n  sise: 1\n", r"line 6: other\.sise is not known; known are: size, low"),
        (WHOLE + "name: b\n", r"line 5: name stands there twice"),
        (WHOLE + "  - {size: 1, size: 2}\n", r"line 5: size stands there twice"),
        ("inner: []\n", r"line 1: name is missing"),
        ("- a\n", r"line 1: the whole must be a mapping"),
        ("name: [", r"line 1"),
        ("name: !!python/object/apply:os.getcwd []", r"could not determine a constructor"),
        (f"name: {'a' * MAX_BYTES}", r"is larger than 1048576 bytes"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s)c.yaml.*{message}"):
        read_config_file(Outer, str(path))


def test_an_alias_is_counted_where_it_was_written_first(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: a\nother: &one {size: 1}\ninner:\n  - *one\n  - *one\n")
    assert read_config_file(Outer, str(path)).inner == (Inner(size=1), Inner(size=1))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml does not exist"):
        read_config_file(Outer, str(tmp_path / "nothing.yaml"))
