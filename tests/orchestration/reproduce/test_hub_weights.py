"""Weights of the hub: which a recipe needs, and a quick answer where they cannot be had."""

from __future__ import annotations

from urllib.error import HTTPError, URLError

import pytest

from orchestration.reproduce import hub_weights as module
from orchestration.reproduce.hub_weights import check_at_hand, hub_weights
from ser_model.schema import ModelError
from ser_model.training.recipe import load_recipe

WEIGHTS = "facebook/wav2vec2-base@0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8"


def test_a_recipe_names_what_it_begins_with() -> None:
    assert hub_weights(load_recipe("wagner/w2v2-b")) == (WEIGHTS,)
    assert len(hub_weights(load_recipe("wagner/fusion-bert"))) == 2
    for recipe in ("wagner/cnn14", "wagner/w2v2-L-wo-pretrain", "baseline/egemaps-svm"):
        assert hub_weights(load_recipe(recipe)) == ()


@pytest.fixture
def hub_that(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """hub_that(error): a hub that answers so, with nothing in the cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    asked: list[str] = []

    def answer(error: Exception) -> list[str]:
        def urlopen(url: str, timeout: float) -> None:
            asked.append(url)
            raise error

        monkeypatch.setattr(module, "urlopen", urlopen)
        return asked

    module._hub_answers.cache_clear()
    yield answer
    module._hub_answers.cache_clear()


def test_a_hub_that_does_not_answer_is_asked_once(hub_that) -> None:
    asked = hub_that(URLError("no route"))
    for _ in range(2):
        with pytest.raises(ModelError, match="needs the weights of facebook/wav2vec2-base: not"):
            check_at_hand([WEIGHTS])
    assert len(asked) == 1


def test_any_answer_will_do(hub_that) -> None:
    hub_that(HTTPError("https://hub", 401, "who are you", None, None))
    check_at_hand([WEIGHTS])


def test_the_cache_will_do(hub: None) -> None:
    check_at_hand([WEIGHTS])
