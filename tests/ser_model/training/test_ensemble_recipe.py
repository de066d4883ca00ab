"""Recipes of ensembles: what they say, and whom an override is for."""

import pytest

from ser_model.schema import ConfigError
from ser_model.training.ensemble_recipe import (
    EnsembleRecipe,
    list_ensemble_recipes,
    load_ensemble_recipe,
)
from ser_model.training.recipe import list_recipes, load_recipe

NAME = "triantafyllopoulos/late-fusion"
AUDIO, TEXT = "triantafyllopoulos/cnn14", "triantafyllopoulos/bert"


def test_the_recipe_of_the_paper() -> None:
    assert list_ensemble_recipes() == [NAME]
    assert NAME not in list_recipes()
    recipe, overrides = load_ensemble_recipe(NAME)
    assert (recipe.members, recipe.vote) == ((AUDIO, TEXT), "mean")
    assert overrides == {AUDIO: ("task=dimensions",), TEXT: ("task=dimensions",)}
    assert load_ensemble_recipe(NAME, ["task=valence"])[0].vote == "mean"
    recipe, overrides = load_ensemble_recipe(NAME, ["task=emotion", "emotion_vote=hard"])
    assert (recipe.vote, recipe.model_task) == ("hard", "emotion")
    assert load_recipe(TEXT, overrides[TEXT]).task == "emotion"


def test_an_override_is_for_all_or_for_one() -> None:
    _, overrides = load_ensemble_recipe(NAME, ["seed=3", "cnn14.crop_s=2.0", "bert.num_epochs=1"])
    assert overrides[AUDIO][:2] == ("seed=3", "crop_s=2.0")
    assert overrides[TEXT][:2] == ("seed=3", "num_epochs=1")
    assert load_recipe(AUDIO, overrides[AUDIO]).crop_s == 2.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbone.max_tokens=3", "triantafyllopoulos/cnn14: backbone.max_tokens is not known"),
        ("bert.loud=1", "triantafyllopoulos/bert: loud is not known"),
        ("task=mood", "late-fusion: task is 'mood'"),
        ("emotion_vote=loud", "late-fusion: emotion_vote is 'loud'"),
    ],
)
def test_what_no_member_takes_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_ensemble_recipe(NAME, [override])


def test_members_must_be_told_apart() -> None:
    with pytest.raises(ConfigError, match="no recipe 'late'; there are: triantafyllopoulos/late"):
        load_ensemble_recipe("late")
    for members in (("demo",), ("wagner/cnn14", "triantafyllopoulos/cnn14")):
        with pytest.raises(ValueError, match="2 or more are needed, of which the last parts"):
            EnsembleRecipe(description="", members=members)
