import pytest

from ser_model.schema import ConfigError
from ser_model.training.recipe import list_recipes, load_recipe, to_mapping


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_describes_a_model(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description
    assert recipe.model_config().targets == ("arousal", "dominance", "valence")


def test_overrides_reach_any_field_and_the_last_one_counts() -> None:
    recipe = load_recipe(
        "demo",
        ["backbone.channels=[4, 8]", "backbone.num_pools=1", "seed=1", "seed=2", "task=emotion"],
    )
    assert recipe.backbone.channels == (4, 8)
    assert (recipe.seed, recipe.task) == (2, "emotion")
    assert to_mapping(recipe)["backbone"]["num_pools"] == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "is not KEY=VALUE"),
        ("=3", "is not KEY=VALUE"),
        ("seed=[", "is no YAML value"),
        ("sead=1", "sead is not known; known are: description, task, backbone"),
        ("optimiser.rate=1.0", "optimiser.rate is not known; known are: kind, learning_rate"),
        ("seed.x=1", "seed has no fields of its own"),
        ("seed=-1", "seed -1 is negative"),
        ("seed=one", "seed must be of type int"),
        ("num_epochs=0", "num_epochs 0 is not positive"),
        ("batch_size=1", "batch_size 1: CCC and batch norm need 2"),
        ("crop_s=.nan", "crop_s nan is not positive"),
        ("task=sentiment", "task is 'sentiment'; allowed are: dimensions, arousal"),
        ("optimiser.learning_rate=0.0", "optimiser: learning_rate 0.0 is not positive"),
        ("optimiser.weight_decay=-1.0", "optimiser: weight_decay -1.0 is negative"),
        ("schedule.warmup=1.0", "schedule: warmup 1.0 is not in"),
        ("backbone.num_pools=7", "backbone: num_pools 7 is not 0 to"),
        ("backbone.channels=[]", "backbone: channels"),
        ("backbone.hop_samples=0", "backbone: hop_samples 0 is not positive"),
        ("backbone.dropout=1.0", "backbone: dropout 1.0 is not in"),
        ("head.num_hidden=0", "head: num_hidden 0 is not positive"),
        ("head.dropout=-0.1", "head: dropout -0.1 is not in"),
    ],
)
def test_what_a_recipe_cannot_be_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("demo", [override])


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'damo'; there are: .*demo"):
        load_recipe("damo")
