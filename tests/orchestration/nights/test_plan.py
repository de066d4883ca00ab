"""What a night is about, written down when it begins."""

import re
from datetime import UTC, datetime

import pytest

from orchestration.nights.plan import night_name, settle, unfinished_nights
from orchestration.nights.record import night_folder
from orchestration.promotion import promote
from ser_model import storage
from ser_model.schema import ConfigError, RunError


def test_a_night_has_the_name_of_its_day() -> None:
    before = datetime.now(UTC).date().isoformat()
    name = night_name(None)
    assert before <= name <= datetime.now(UTC).date().isoformat()
    assert night_name("again.2") == "again.2"
    for text in ("", "../a", "a/b", ".hidden", "a" * 65):
        with pytest.raises(ConfigError, match=re.escape(repr(text))):
            night_name(text)


def test_a_plan_stays_as_it_was_written(nights) -> None:
    config = nights.write_config()
    first = nights.register(nights.right)
    plan = settle(config, "2")
    assert (plan.candidate, plan.champion, plan.before) == (first, None, ())
    promote(first, "champion")
    nights.register(nights.wrong)
    assert settle(config, "2") == plan
    assert settle(config, "3").champion == first


def test_a_plan_looks_back_on_complete_nights_alone(nights) -> None:
    config = nights.write_config("drift: {nights: 2}")
    nights.register(nights.right)
    for name in ("1", "2", "3", "5", "7"):
        folder = night_folder(config.output, name)
        storage.write_json(storage.join(folder, "plan.json"), {})
        if name != "5":
            storage.write_json(storage.join(folder, "night.json"), {})
    assert settle(config, "6").before == ("2", "3")
    assert unfinished_nights(config.output, "6") == ["5"]


def test_a_damaged_plan_is_named(nights) -> None:
    config = nights.write_config()
    uri = storage.join(night_folder(config.output, "1"), "plan.json")
    for content in (b"{", b"{}"):
        storage.write_atomic(uri, content)
        with pytest.raises(RunError, match=r"1/plan\.json is damaged"):
            settle(config, "1")
