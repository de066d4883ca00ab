"""Miniatures: corpora in the layouts of their releases, and the papers' weights in the hub's cache.

All of them are random. The code that reads them is the real one; one folder of steps is shared by
all tests of a session, as tables share steps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from orchestration.readers.cmu_mosi_folds import SPLIT_BY_VIDEO
from orchestration.readers.emotyda import DIALOGUE_ACTS
from orchestration.reproduce.changes import Changes
from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.plan import TRANSCRIBER
from orchestration.reproduce.published import list_published, read_published
from orchestration.reproduce.steps.base import Context
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.speech_transformer_config import SpeechTransformerConfig, library_class
from ser_model.models.text_transformer_config import TextTransformerConfig, library_fields
from ser_model.training.recipe import Recipe, list_recipes, load_recipe

DURATION_S = 0.4
WORDS = ("glad", "sad", "of", "a", "door", "dogs", "kids")
TINY_SPEECH = (
    "num_hidden_layers=2",
    *("hidden_size=16", "num_attention_heads=2", "intermediate_size=16"),
    *("conv_dim=[8,8,8,8,8,8,8]", "num_conv_pos_embeddings=16", "num_conv_pos_embedding_groups=2"),
)
TINY_TEXT = (
    "num_hidden_layers=2",
    *("hidden_size=16", "num_attention_heads=2", "intermediate_size=16"),
    *("vocab_size=32", "max_position_embeddings=32", "max_tokens=32"),
)
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)


def _record(file: Path, rng: np.random.Generator, level: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    samples = rng.normal(0.0, 0.02 + 0.2 * level, round(DURATION_S * 16_000))
    sf.write(file, np.clip(samples, -1.0, 1.0), 16_000)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _words(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, size=3))


def make_msp_podcast(folder: Path, rng: np.random.Generator) -> None:
    rows = ["FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"]
    sets = {"Train": 4, "Development": 2, "Test1": 6, "Test2": 3}
    speaker = 0
    for split_set, num_speakers in sets.items():
        for _ in range(num_speakers):
            speaker += 1
            for number in range(8):
                name = f"MSP-PODCAST_{speaker:04d}_{number:04d}"
                level = rng.uniform()
                _record(folder / "Audios" / f"{name}.wav", rng, level)
                _write(folder / "Transcripts" / f"{name}.txt", _words(rng))
                ratings = (
                    f"{1 + 6 * np.clip(level + rng.normal(0, 0.1), 0, 1):.2f}" for _ in "avd"
                )
                sex = ("Female", "Male")[speaker % 2]
                emotion = "NHASNHAS"[number]
                rows.append(
                    ",".join([f"{name}.wav", emotion, *ratings, str(speaker), sex, split_set])
                )
    _write(folder / "Labels" / "labels_consensus.csv", "\n".join(rows))


def make_iemocap(folder: Path, rng: np.random.Generator) -> None:
    """Two sessions of two speakers, a scripted dialogue and an improvised one each; with acts."""
    codes = list(DIALOGUE_ACTS)
    for session in (1, 2):
        root, acts = folder / f"Session{session}", ["TURN,DA"]
        for dialogue in (f"Ses0{session}F_impro01", f"Ses0{session}F_script01_1"):
            turns, said = [], []
            for number in range(12):
                turn = f"{dialogue}_{'FM'[number % 2]}{number:03d}"
                level = rng.uniform()
                emotion = ("neu", "hap", "ang", "sad", "exc", "fru")[number // 2]
                ratings = ", ".join(
                    f"{1 + 4 * np.clip(level + rng.normal(0, 0.1), 0, 1):.4f}" for _ in "vad"
                )
                turns.append(f"[{number}.0 - {number}.9]\t{turn}\t{emotion}\t[{ratings}]")
                said.append(f"{turn} [{number:03d}.0-{number:03d}.9]: {_words(rng)}")
                acts.append(f"{turn},{codes[number]}")
                _record(root / "sentences" / "wav" / dialogue / f"{turn}.wav", rng, level)
            _write(root / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", "\n".join(turns))
            _write(root / "dialog" / "transcriptions" / f"{dialogue}.txt", "\n".join(said))
        _write(folder / f"iemocap_session{session}.csv", "\n".join(acts))


def make_cmu_mosi(folder: Path, rng: np.random.Generator) -> None:
    videos = [video for video, split in SPLIT_BY_VIDEO.items() if split == "test"][:4]
    lines, sexes = [], ["video,gender"]
    for place, video in enumerate(videos):
        sexes.append(f"{video},{('female', 'male')[place % 2]}")
        said = []
        for number in range(1, 7):
            level = rng.uniform()
            _record(folder / "Audio/WAV_16000/Segmented" / f"{video}_{number}.wav", rng, level)
            lines.append(f"{number}.0,{number}.4,{video},{number},{6 * level - 3:.2f}")
            said.append(f"{number}_DELIM_{_words(rng).upper()}")
        _write(folder / "Transcript/Segmented" / f"{video}.annotprocessed", "\n".join(said))
    _write(folder / "OpinionLevelSentiment.csv", "\n".join(lines))
    _write(folder / "gender.csv", "\n".join(sexes))


def make_ravdess(folder: Path, rng: np.random.Generator) -> None:
    """So many that a fifth, drawn at random, has every emotion."""
    for actor in range(1, 9):
        for emotion in range(1, 9):
            for repetition in (1, 2):
                name = f"03-01-{emotion:02d}-01-01-{repetition:02d}-{actor:02d}.wav"
                _record(folder / f"Actor_{actor:02d}" / name, rng, emotion / 8)


def make_esc50(folder: Path, rng: np.random.Generator) -> None:
    rows = ["filename,category"]
    for number, category in enumerate(
        ("rain", "wind", "laughing", "sneezing", "clock_tick", "siren")
    ):
        rows.append(f"{number}.wav,{category}")
        _record(folder / "audio" / f"{number}.wav", rng, 0.5)
    _write(folder / "meta" / "esc50.csv", "\n".join(rows))


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A path for each corpus."""
    folder = tmp_path_factory.mktemp("corpora")
    makers = {
        "msp-podcast": make_msp_podcast,
        "iemocap": make_iemocap,
        "cmu-mosi": make_cmu_mosi,
        "ravdess": make_ravdess,
        "esc50": make_esc50,
    }
    rng = np.random.default_rng(0)
    for name, make in makers.items():
        make(folder / name, rng)
    paths = {name: str(folder / name) for name in makers}
    return {**paths, "emotyda": paths["iemocap"]}


def tiny(recipe: Recipe, *, several_seeds: bool) -> tuple[str, ...]:
    """Return overrides that make a recipe's training a matter of moments."""
    words = ["num_epochs=1", "batch_size=8", "crop_s=null", "head.num_hidden=8"]
    if several_seeds:
        words.append("num_seeds=2")
    backbones = {"backbone": recipe.backbone}
    if recipe.fusion is not None:
        backbones["fusion.text"] = recipe.fusion.text
    for place, config in backbones.items():
        if isinstance(config, Cnn14Config):
            fields: Sequence[str] = ("channels=[4,8,8]", "num_pools=3")
        else:
            fields = TINY_TEXT if isinstance(config, TextTransformerConfig) else TINY_SPEECH
        words += [f"{place}.{field}" for field in fields]
    return tuple(words)


@pytest.fixture(scope="session")
def changes() -> Changes:
    """Every network tiny, one epoch, and two seeds where the paper has several."""
    overrides = []
    for name in list_recipes():
        recipe = load_recipe(name)
        if isinstance(recipe, Recipe):
            words = tiny(recipe, several_seeds=recipe.num_seeds > 1)
            overrides += [(name, word) for word in words]
    return Changes(overrides=tuple(overrides))


@pytest.fixture(scope="session")
def hub_cache_of_papers(
    tmp_path_factory: pytest.TempPathFactory,
    changes: Changes,
    ctc_folder: Path,
) -> str:
    """A cache of the hub with all that recipes begin with and who transcribes."""
    folder = tmp_path_factory.mktemp("hub")
    wanted: dict[str, SpeechTransformerConfig | TextTransformerConfig] = {}
    for name in list_recipes():
        recipe = load_recipe(name, changes.of(name))
        if not isinstance(recipe, Recipe):
            continue
        for config in (recipe.backbone, recipe.fusion and recipe.fusion.text):
            if isinstance(config, SpeechTransformerConfig | TextTransformerConfig):
                _keep_deepest(wanted, config)
    for hub_id, config in wanted.items():
        repository = folder / f"models--{hub_id.replace('/', '--')}"
        write_checkpoint(repository / "snapshots" / str(config.revision), config)
    for uri in transcribers():
        hub_id, _, revision = uri.removeprefix("hf:").partition("@")
        repository = folder / f"models--{hub_id.replace('/', '--')}"
        shutil.copytree(ctc_folder, repository / "snapshots" / revision)
    return str(folder)


@pytest.fixture
def hub(hub_cache_of_papers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is away, and all that the papers begin with is in its cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", hub_cache_of_papers)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def transcribers() -> set[str]:
    """Return who transcribes, in whatever table; here by CTC, for a small Whisper is not quick."""
    tables = map(read_published, list_published())
    named = {system.transcripts for table in tables for system in table.systems}
    return (named - {""}) | {TRANSCRIBER}


def _keep_deepest(
    wanted: dict[str, SpeechTransformerConfig | TextTransformerConfig],
    config: SpeechTransformerConfig | TextTransformerConfig,
) -> None:
    hub_id = config.pretrained
    if hub_id is None:
        return
    known = wanted.get(hub_id)
    if known is None or known.num_hidden_layers < config.num_hidden_layers:
        wanted[hub_id] = config


def write_checkpoint(folder: Path, config: SpeechTransformerConfig | TextTransformerConfig) -> None:
    """Write random weights as the hub has them."""
    import safetensors.torch
    import torch

    from ser_model.models.speech_transformer import SpeechTransformer
    from ser_model.models.text_transformer import TextTransformer

    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if isinstance(config, TextTransformerConfig):
            network = TextTransformer(replace(config, pretrained=None))
            library: Mapping[str, object] = {"model_type": "bert", **library_fields(config)}
            _write(folder / "vocab.txt", "\n".join(TOKENS))
        else:
            network = SpeechTransformer(replace(config, pretrained=None))
            names = set(config.__dataclass_fields__)
            fields = {name: getattr(config, name) for name in names - {"kind", "pretrained"}}
            library = library_class(config.family, "Config")(**fields).to_dict()
            _write(
                folder / "preprocessor_config.json",
                json.dumps({"do_normalize": config.do_normalize}),
            )
        weights = {
            name: value.contiguous() for name, value in network.transformer.state_dict().items()
        }
    _write(folder / "config.json", json.dumps(library))
    safetensors.torch.save_file(weights, folder / "model.safetensors")


@pytest.fixture
def quick_audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition alone: most of the time that an audit of so little takes goes into the others."""
    for module in ("pipelines.audit", "pipelines.transforms.pairs", "pipelines.ensemble"):
        monkeypatch.setattr(f"{module}.NUM_PARTITIONS", 1)


@pytest.fixture(scope="session")
def context_of_session(
    tmp_path_factory: pytest.TempPathFactory, corpora: dict[str, str]
) -> Context:
    """All corpora, and one folder for the steps of all tables."""
    work = str(tmp_path_factory.mktemp("reproduction"))
    return Context(work=work, corpora=Corpora(corpora), devices="cpu")


@pytest.fixture
def context(context_of_session: Context, hub: None, quick_audits: None) -> Context:
    """The same, with the hub's cache and quick audits for as long as a test lasts."""
    return context_of_session
