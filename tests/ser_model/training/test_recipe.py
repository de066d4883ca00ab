import pytest

from ser_model.schema import ConfigError
from ser_model.training.recipe import Recipe, list_recipes, load_recipe, to_mapping


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_describes_a_model(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description
    if isinstance(recipe, Recipe):
        assert recipe.model_config().targets == ("arousal", "dominance", "valence")


def test_overrides_reach_any_field_and_the_last_one_counts() -> None:
    recipe = load_recipe(
        "demo",
        ["backbone.channels=[4, 8]", "backbone.num_pools=1", "seed=1", "seed=2", "task=emotion"],
    )
    assert recipe.backbone.channels == (4, 8)
    assert (recipe.seed, recipe.task) == (2, "emotion")
    assert to_mapping(recipe)["backbone"]["num_pools"] == 1


def test_a_number_with_an_exponent_is_a_number() -> None:
    assert load_recipe("demo", ["optimiser.learning_rate=1e-4"]).optimiser.learning_rate == 1e-4


def test_a_task_of_one_dimension_weighs_that_one_alone() -> None:
    recipe = load_recipe("demo", ["task=dominance", "loss.one_dimension=mean_squared_error"])
    assert recipe.model_task == "dimensions"
    assert recipe.dimension_weights == (0.0, 1.0, 0.0)
    assert recipe.dev_metric == "concordance_cc_dominance"
    assert load_recipe("demo", ["loss.valence=2.0"]).dimension_weights == (0.25, 0.25, 0.5)
    assert load_recipe("demo", ["task=emotion"]).dev_metric == "unweighted_average_recall"


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
        ("optimiser.kind=lion", "optimiser.kind is 'lion'; allowed are: adam, adamw, sgd"),
        ("optimiser.eps=0.0", "optimiser: eps 0.0 is not positive"),
        ("optimiser.momentum=1.0", "optimiser: momentum 1.0 is not in"),
        ("optimiser.max_grad_norm=0.0", "optimiser: max_grad_norm 0.0 is not positive"),
        ("schedule.num_steps=0", "schedule: num_steps 0 is not positive"),
        ("loss.arousal=-1.0", "loss: weights .* must be 0 or more"),
        ("loss={arousal: 0.0, dominance: 0.0, valence: 0.0}", "loss: weights .* must be 0 or more"),
        ("selection.every_steps=0", "selection: every_steps 0 is not positive"),
        ("selection.patience=0", "selection: patience 0 is not positive"),
        ("selection.metric=accuracy", "metric accuracy is none of the task dimensions; there are"),
        ("data.fraction=0.0", "data: fraction 0.0 is not in"),
        ("data.seed=-1", "data: seed -1 is negative"),
        ("data={fold_by: speaker_id, num_folds: 2}", "data: num_folds 2: train, dev and test"),
        ("data.num_folds=5", "data: num_folds and dev_within need fold_by"),
        ("max_steps=0", "max_steps 0 is not positive"),
        ("num_accumulated=0", "num_accumulated 0 is not positive"),
        ("num_seeds=0", "num_seeds 0 is not positive"),
        ("dtype=float16", "dtype is 'float16'; allowed are: float32, bfloat16"),
        ("freeze=[head]", "freeze\\[0\\] is 'head'; allowed are: front_end, encoder, text"),
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


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("demo", "freeze=[text]", "freeze: there is no text in a model of audio alone"),
        ("wagner/fusion-bert", "fusion.text.name=bart", "fusion.text.name is 'bart'; allowed are"),
        ("wagner/fusion-bert", "fusion.kind=every_block", "needs the blocks of a cnn14"),
        ("wagner/fusion-bert", "fusion.text.missing_transcript=skip", "allowed are: reject, empty"),
        ("wagner/fusion-bert", "fusion.text.max_tokens=1000", "max_tokens 1000 is not 3 to"),
        ("triantafyllopoulos/bert", "fusion={kind: shallow}", "fusion.text must be a mapping"),
    ],
)
def test_what_text_cannot_be_is_named(name: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(name, [override])


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'damo'; there are: .*demo"):
        load_recipe("damo")
