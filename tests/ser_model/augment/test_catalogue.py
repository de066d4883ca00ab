"""Names become conditions in a stable order, and what is lacking is said at once."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ser_model.augment import SETS, NoiseFolder, conditions, known_names
from ser_model.schema import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def names(wanted: list[str], noise: NoiseFolder | None = None) -> list[str]:
    return [condition.name for condition in conditions(wanted, noise)]


def test_the_papers_set_has_its_eleven_conditions(noise: NoiseFolder) -> None:
    assert names(["wagner"], noise) == [
        "natural-0db",
        "natural-10db",
        "natural-20db",
        "human-0db",
        "human-10db",
        "human-20db",
        "interior-0db",
        "interior-10db",
        "interior-20db",
        "speed-up-segment",
        "fade",
    ]


def test_severity_goes_from_30_to_0_db_in_steps_of_5() -> None:
    steps = [int(re.fullmatch(r"white-noise-(\d+)db", name)[1]) for name in names(["severity"])]
    assert steps == [30, 25, 20, 15, 10, 5, 0]


def test_the_order_is_that_of_the_words_and_nothing_comes_twice(noise: NoiseFolder) -> None:
    assert names(["fade", "clean", "fade", "tilt-up"]) == ["fade", "clean", "tilt-up"]
    both = names(["severity", "ser-tests"], noise)
    assert both[:7] == list(SETS["severity"])
    assert both[7:] == [name for name in SETS["ser-tests"] if name != "white-noise-20db"]
    assert names([]) == []


def test_names_are_safe_in_file_names_and_each_means_one_thing(noise: NoiseFolder) -> None:
    everything = conditions(known_names(), noise)
    assert len({condition.name for condition in everything}) == len(everything) == 71
    for condition in everything:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", condition.name)
        assert condition.description
    assert not set(SETS) & set(known_names())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no condition 'wagnr'.*wagner.*severity.*natural-0db"):
        conditions(["wagnr"], None)


def test_missing_noise_is_answered_with_where_to_get_it() -> None:
    with pytest.raises(ConfigError, match=r"natural-0db.*ESC-50.*meta/esc50\.csv.*MUSAN.*music/"):
        conditions(["fade", "natural-0db"], None)
    assert names(["fade"]) == ["fade"]


def test_a_folder_without_the_kind_is_answered_with_the_kind(write_sound, tmp_path: Path) -> None:
    write_sound("rain/a.wav")
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    assert names(["natural-0db"], folder) == ["natural-0db"]
    with pytest.raises(ConfigError, match="has no sounds of human, music: ESC-50"):
        conditions(["music-10db", "human-0db", "natural-0db"], folder)


def test_missing_packages_are_answered_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, package in (
        ("phone", "av"),
        ("loudness-minus-16lufs", "pyloudnorm"),
        ("room-booth", "pyroomacoustics"),
    ):
        with pytest.raises(ConfigError, match=rf"{name} needs {package}.*serval\[augment\]"):
            conditions([name], None)
    assert names(["severity", "mp3-24kbps"])[-1] == "mp3-24kbps"


def test_the_page_names_every_condition_and_its_sets_are_whole() -> None:
    page = (ROOT / "docs" / "conditions.md").read_text()
    for name in known_names():
        assert f"| `{name}` |" in page, name
    assert set(re.findall(r"^\| `([a-z0-9.-]+)` \|", page, re.MULTILINE)) == set(known_names())


def test_listing_conditions_loads_none_of_what_only_some_need() -> None:
    heavy = ("av", "pyloudnorm", "pyroomacoustics", "torch", "librosa")
    code = (
        "import sys, ser_model.augment as augment; augment.conditions(['severity', 'fade'], None); "
        f"print(*(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
