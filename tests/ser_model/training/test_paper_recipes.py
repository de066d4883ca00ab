"""The papers' recipes and the demo's: what they say, and two steps of each on a small network."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ser_model.models.backbones import named_backbones
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.storage import load_model, save_model
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.schema import DIMENSIONS
from ser_model.training.ensemble_recipe import list_ensemble_recipes
from ser_model.training.examples import Example
from ser_model.training.loop import new_model, train
from ser_model.training.recipe import Recipe, list_recipes, load_recipe

# The names that the outer contract promises.
WITH_TEXT = {
    *(f"triantafyllopoulos/{name}" for name in ("bert", "sfcnn14", "mfcnn14")),
    *(f"deoliveira/{name}-tinybert" for name in ("distilhubert", "hubert-base")),
    *("deoliveira/w2v2-L-robust-p-tinybert", "wagner/fusion-bert"),
}
NAMES = {
    *WITH_TEXT,
    *(f"wagner/{name}" for name in ("w2v2-b", "hubert-b", "w2v2-L", "hubert-L", "w2v2-L-robust")),
    *(f"wagner/{name}" for name in ("w2v2-L-robust-12", "w2v2-L-vox", "w2v2-L-xls-r")),
    *("wagner/w2v2-L-wo-pretrain", "wagner/cnn14", "triantafyllopoulos/cnn14"),
    *(f"gavali/{name}" for name in ("wav2vec2-large", "xlsr-53", "hubert-base", "hubert-xlarge")),
    *("gavali/unispeech-large", "gavali/unispeech-large-multilingual"),
    *(f"deoliveira/{name}" for name in ("distilhubert", "hubert-base", "w2v2-L-robust-p")),
}
# No paper's: what `serval demo` and `serval demo --with-text` train.
OF_DEMO = {"demo", "demo-text", "demo-fusion"}
SMALL_CNN14 = ("backbone.channels=[4, 4, 4, 4, 4, 4]",)
SMALL_TRANSFORMER = (
    "backbone.pretrained=null",
    "backbone.hidden_size=32",
    "backbone.num_hidden_layers=2",
    "backbone.num_attention_heads=4",
    "backbone.intermediate_size=64",
    "backbone.conv_dim=[16, 16, 16, 16, 16, 16, 16]",
    "backbone.num_conv_pos_embeddings=16",
    "backbone.num_conv_pos_embedding_groups=4",
)
SMALL_TEXT = (
    "pretrained=null",
    "hidden_size=24",
    "num_hidden_layers=2",
    "num_attention_heads=4",
    "intermediate_size=32",
    "vocab_size=120",
    "max_position_embeddings=32",
    "max_tokens=32",
)
SMALL = ("batch_size=2", "max_steps=2", "num_epochs=1")
WORDS = ("so", "glad", "sad", "this", "is", "not", "quite", "it")


def small(name: str) -> Recipe:
    recipe = load_recipe(name)
    overrides = list(SMALL)
    if isinstance(recipe.backbone, Cnn14Config):
        overrides += SMALL_CNN14
    elif isinstance(recipe.backbone, TextTransformerConfig):
        overrides += [f"backbone.{override}" for override in SMALL_TEXT]
    else:
        overrides += SMALL_TRANSFORMER
    if recipe.fusion is not None:
        overrides += [f"fusion.text.{override}" for override in SMALL_TEXT]
    if recipe.head.num_hidden is not None:
        overrides.append("head.num_hidden=16")
    return load_recipe(name, overrides)


def make_examples(recipe: Recipe, targets: tuple[str, ...]) -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    model = new_model(recipe, targets)
    examples = []
    for index in range(8):
        num_samples = 12_000 + 1_000 * index
        waveform = 0.1 * torch.randn(1, num_samples, generator=generator)
        inputs, _ = model.prepare(waveform, torch.tensor([num_samples]))
        of_dimensions = torch.rand(3, generator=generator)
        truth = torch.tensor(index % len(targets)) if recipe.task == "emotion" else of_dimensions
        examples.append(
            Example(
                segment_id=str(index),
                duration_s=num_samples / 16_000,
                inputs=inputs[0],
                truth=truth,
                transcript=" ".join(WORDS[: index + 1]),
            )
        )
    return examples


def test_every_recipe_of_the_papers_is_there() -> None:
    assert set(list_recipes()) >= NAMES | OF_DEMO


def test_every_recipe_and_backbone_is_in_the_documentation() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "models.md").read_text()
    names = (*NAMES, *OF_DEMO, *list_ensemble_recipes(), *named_backbones())
    missing = {name for name in names if f"`{name}`" not in page}
    assert not missing
    assert all(backbone.hub in page for backbone in named_backbones().values())


@pytest.mark.parametrize("name", sorted(NAMES | OF_DEMO))
def test_a_recipe_runs_for_two_steps(name: str) -> None:
    recipe = small(name)
    targets = tuple("abcdefgh") if recipe.task == "emotion" else DIMENSIONS
    examples = make_examples(recipe, targets)
    model = new_model(recipe, targets, examples)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = train(recipe, model, examples, examples)
    assert result.best.step in (1, 2)
    after = result.model.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    frozen = {key for key in before if ".feature_extractor." in key}
    if "front_end" in recipe.freeze:
        assert frozen
        assert not moved & frozen
    else:
        assert moved & frozen or not frozen
    assert "head.out_proj.weight" in moved


@pytest.mark.parametrize("name", sorted(WITH_TEXT | OF_DEMO - {"demo"}))
def test_a_recipe_with_text_learns_from_it_where_it_says_so_and_comes_back(
    name: str, tmp_path: Path
) -> None:
    recipe = small(name)
    examples = make_examples(recipe, DIMENSIONS)
    model = new_model(recipe, DIMENSIONS, examples)
    before = {key: value.clone() for key, value in model.text.state_dict().items()}
    trained = train(recipe, model, examples, examples).model
    after = trained.text.state_dict()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert bool(moved) is ("text" not in recipe.freeze)
    if trained.fusion is not None and trained.fusion.projections:
        first = new_model(recipe, DIMENSIONS, examples).fusion.projections[0].weight
        assert not torch.equal(first, trained.fusion.projections[0].weight)
    save_model(trained, str(tmp_path))
    batch = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(9))
    arguments = (batch, torch.tensor([16_000, 12_000]), ["so glad", ""])
    with torch.inference_mode():
        assert torch.equal(load_model(str(tmp_path))(*arguments).scores, trained(*arguments).scores)


FACTS: dict[str, Callable[[Recipe], object]] = {
    "wagner/w2v2-L-robust-12": lambda r: (
        *(r.optimiser.kind, r.optimiser.learning_rate, r.schedule.kind, r.batch_size),
        *(r.num_epochs, r.freeze, r.backbone.num_hidden_layers, r.backbone.pretrained),
    ),
    "wagner/w2v2-L-wo-pretrain": lambda r: (r.num_epochs, r.freeze, r.backbone.pretrained),
    "triantafyllopoulos/cnn14": lambda r: (
        *(r.optimiser.kind, r.optimiser.learning_rate, r.optimiser.momentum, r.batch_size),
        *(r.num_epochs, r.num_seeds, r.crop_s, r.backbone.pool, r.backbone.num_pools),
    ),
    "triantafyllopoulos/bert": lambda r: (
        *(r.optimiser.kind, r.optimiser.learning_rate, r.optimiser.eps, r.optimiser.weight_decay),
        *(r.optimiser.bias_correction, r.schedule.kind, r.schedule.warmup, r.schedule.num_steps),
        *(r.batch_size, r.num_epochs, r.num_seeds, r.backbone.max_tokens, r.backbone.pretrained),
    ),
    "triantafyllopoulos/mfcnn14": lambda r: (
        *(r.optimiser.kind, r.optimiser.learning_rate, r.batch_size, r.num_epochs, r.num_seeds),
        *(r.crop_s, r.fusion.kind, r.fusion.pooling, r.fusion.text.pretrained, r.freeze),
    ),
    "wagner/fusion-bert": lambda r: (
        *(r.num_epochs, r.freeze, r.fusion.kind, r.fusion.text.pretrained, r.head.activation),
    ),
    "deoliveira/distilhubert-tinybert": lambda r: (
        *(r.optimiser.kind, r.optimiser.learning_rate, r.batch_size, r.freeze, r.fusion.kind),
        *(r.fusion.text.hidden_size, r.fusion.text.num_hidden_layers, r.fusion.text.pretrained),
    ),
    "gavali/xlsr-53": lambda r: (
        *(r.task, r.optimiser.learning_rate, r.batch_size, r.num_accumulated, r.num_epochs),
        *(r.selection.every_steps, r.data.split, r.pooling),
    ),
    "deoliveira/distilhubert": lambda r: (
        *(r.optimiser.kind, r.optimiser.learning_rate, r.batch_size, r.pooling, r.freeze),
        *(r.backbone.num_hidden_layers, r.backbone.hidden_dropout, r.head.dropout),
    ),
}
PUBLISHED = {
    "wagner/w2v2-L-robust-12": (
        *("adam", 1e-4, "none", 32, 5, ("front_end",), 12),
        "facebook/wav2vec2-large-robust",
    ),
    "wagner/w2v2-L-wo-pretrain": (50, (), None),
    "triantafyllopoulos/cnn14": ("sgd", 1e-2, 0.9, 64, 60, 5, 5.0, "max", 6),
    "triantafyllopoulos/bert": (
        *("adamw", 2e-5, 1e-6, 0.0, False, "linear", 0.1, 1000, 32, 4, 5, 128),
        "google-bert/bert-base-uncased",
    ),
    "triantafyllopoulos/mfcnn14": (
        *("sgd", 1e-2, 64, 60, 5, 5.0, "every_block", "mean", "google-bert/bert-base-uncased"),
        ("text",),
    ),
    "wagner/fusion-bert": (
        *(100, ("front_end", "encoder", "text"), "concatenation", "google-bert/bert-base-uncased"),
        "tanh",
    ),
    "deoliveira/distilhubert-tinybert": (
        *("adam", 1e-5, 16, ("front_end",), "concatenation", 312, 4),
        "huawei-noah/TinyBERT_General_4L_312D",
    ),
    "gavali/xlsr-53": ("emotion", 1e-4, 4, 2, 10, 100, "random-80-20", "mean"),
    "deoliveira/distilhubert": ("adam", 1e-5, 16, "max_plus_mean", ("front_end",), 2, 0.1, 0.1),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_recipe_says_what_its_paper_says(name: str) -> None:
    assert FACTS[name](load_recipe(name)) == PUBLISHED[name]


def test_another_reading_of_a_name_is_an_override_away() -> None:
    recipe = load_recipe("wagner/w2v2-L", ["backbone.name=w2v2-L-960h"])
    assert recipe.backbone.pretrained == "facebook/wav2vec2-large"
    assert recipe.backbone.feat_extract_norm == "group"
    assert recipe.backbone.layerdrop == 0.1
