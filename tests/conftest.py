"""What tests of several packages need: an S3 server, clean memory files, recordings, real data."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import numpy as np
import pytest
import soundfile as sf
from chaos_proxy import ChaosProxy
from faulty import VARIABLE, Faults

from ser_model import retrying, storage

if TYPE_CHECKING:
    import torch

    from ser_model.models.base import EmotionModel

BUCKET = "serval-tests"

# As `serval` does it, before torch is loaded: waiting threads sleep, or a busy machine crawls.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Run a moto server on a free port, and point every S3 client of this process to it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield endpoint
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.fixture
def s3(s3_server: str, request: pytest.FixtureRequest) -> str:
    """A folder of its own for each test on the S3 server."""
    return f"s3://{BUCKET}/{request.node.name}"


@pytest.fixture
def memory() -> Iterator[str]:
    """An empty folder in memory, for this process only."""
    yield "memory://tests"
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaoticStore:
    """A folder on the S3 server that is reached through a proxy which makes trouble if told to."""

    uri: str
    proxy: ChaosProxy


@pytest.fixture(scope="session")
def chaos_proxy(s3_server: str) -> Iterator[ChaosProxy]:
    """One proxy for all tests, so that their clients, which take long to make, can stay."""
    proxy = ChaosProxy(s3_server)
    yield proxy
    proxy.close()


@pytest.fixture
def chaotic_s3(
    chaos_proxy: ChaosProxy, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChaoticStore]:
    """A folder behind a proxy, for this process and those that it starts; calm at first."""
    # Of a client's own options these are the only ones, which sets it apart from that of `s3`.
    settings = {"config_kwargs": {"connect_timeout": 1, "read_timeout": 1}}
    monkeypatch.setitem(fsspec.config.conf, "s3", settings)
    monkeypatch.setenv("FSSPEC_S3", json.dumps(settings))  # a subprocess reads it
    monkeypatch.setenv("AWS_ENDPOINT_URL", chaos_proxy.endpoint)
    chaos_proxy.calm()
    yield ChaoticStore(uri=f"s3://{BUCKET}/{request.node.name}", proxy=chaos_proxy)
    chaos_proxy.calm()


@pytest.fixture
def new_clients(chaotic_s3: ChaoticStore) -> Iterator[None]:
    """S3 clients read the environment when they are made: these are made for one test."""
    s3fs = fsspec.get_filesystem_class("s3")
    s3fs.clear_instance_cache()
    yield
    s3fs.clear_instance_cache()


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """A faulty:// folder, and the plan of what goes wrong in it: nothing, until it is told to."""
    (tmp_path / "faulty").mkdir()
    faults = Faults(tmp_path / "faults", f"faulty://{tmp_path / 'faulty'}")
    monkeypatch.setenv(VARIABLE, str(faults.folder))
    return faults


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage gives up after a moment."""
    monkeypatch.setattr(retrying, "_deadline_s", 0.2)


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same test on every kind of storage."""
    return str(tmp_path) if request.param == "local" else request.getfixturevalue(request.param)


WriteRecording = Callable[..., str]


@pytest.fixture
def write_recording() -> WriteRecording:
    """Write a recording of seeded noise; the extension of `uri` decides the format."""

    def write(
        uri: str | Path,
        *,
        duration_s: float = 1.0,
        sampling_rate_hz: int = 16_000,
        num_channels: int = 1,
        seed: int = 0,
        samples: np.ndarray | None = None,
        subtype: str | None = None,
    ) -> str:
        if samples is None:
            shape = (round(duration_s * sampling_rate_hz), num_channels)
            samples = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
        buffer = io.BytesIO()
        file_format = Path(str(uri)).suffix[1:].upper()
        sf.write(buffer, samples, sampling_rate_hz, format=file_format, subtype=subtype)
        storage.write_atomic(str(uri), buffer.getvalue())
        return str(uri)

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; tests that use it are marked real_data."""
    named = os.environ.get("SERVAL_REAL_DATA")
    if not named:
        pytest.skip("SERVAL_REAL_DATA does not name a folder of real recordings")
    return Path(named).resolve()


HUB_TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
OLD_WEIGHT_NORM = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}


def write_hub_folder(
    folder: Path,
    *,
    labels: Sequence[str] = ("arousal", "dominance", "valence"),
    weight_norm: str = "old",
    file: str = "model.safetensors",
    edit: Callable[[dict[str, torch.Tensor]], object] = lambda weights: None,
    **config: object,
) -> Path:
    """A checkpoint as audEERING's released one is stored, small and with random weights."""
    import safetensors.torch
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    library = Wav2Vec2Config(**HUB_TINY, vocab_size=None, final_dropout=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        encoder = Wav2Vec2Model(library)
        head = {
            "classifier.dense.weight": 0.2 * torch.randn(32, 32),
            "classifier.dense.bias": torch.randn(32),
            "classifier.out_proj.weight": 0.2 * torch.randn(len(labels), 32),
            "classifier.out_proj.bias": torch.randn(len(labels)),
        }
    weights = {f"wav2vec2.{name}": value for name, value in encoder.state_dict().items()} | head
    if weight_norm == "old":
        for new, old in OLD_WEIGHT_NORM.items():
            weights = {name.replace(new, old): value for name, value in weights.items()}
    edit(weights)
    folder.mkdir(exist_ok=True, parents=True)
    mapping = library.to_dict() | {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "architectures": ["Wav2Vec2ForSpeechClassification"],
        **config,
    }
    (folder / "config.json").write_text(json.dumps(mapping))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    if file.endswith(".bin"):
        torch.save(weights, folder / file)
    else:
        safetensors.torch.save_file(weights, folder / file, metadata={"format": "pt"})
    return folder


@pytest.fixture
def hub_folder() -> Callable[..., Path]:
    return write_hub_folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Put a checkpoint where the hub's client keeps what it has downloaded; it is offline then."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(hub_id: str, **fields: object) -> str:
        commit = "0123456789abcdef0123456789abcdef01234567"
        repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        write_hub_folder(repository / "snapshots" / commit, **fields)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
        return commit

    return put


CTC_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHS'")
"""As of facebook/wav2vec2-base-960h: the first is the blank, a bar stands between words."""


def write_ctc_folder(folder: Path, *, prefix: str = "Wav2Vec2", **config: object) -> Path:
    """A CTC model as the library saves one, small and with random weights that say something."""
    import torch
    import transformers

    (folder / "vocab").mkdir(parents=True)
    vocab = folder / "vocab" / "vocab.json"
    vocab.write_text(json.dumps({token: number for number, token in enumerate(CTC_TOKENS)}))
    library = getattr(transformers, f"{prefix}Config")(
        **{**HUB_TINY, "vocab_size": len(CTC_TOKENS), **config}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = getattr(transformers, f"{prefix}ForCTC")(library)
        for parameter in model.lm_head.parameters():
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    transformers.Wav2Vec2CTCTokenizer(str(vocab)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ctc_writer() -> Callable[..., Path]:
    return write_ctc_folder


@pytest.fixture(scope="session")
def ctc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like facebook/wav2vec2-base-960h: its group norm is what batch-mates could change."""
    base = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    return write_ctc_folder(tmp_path_factory.mktemp("ctc"), **base)


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper model of two languages, small and with random weights, that says a few letters."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("whisper")
    letters = {letter: number for number, letter in enumerate("ĠETAONIHSRDLU")}
    tokeniser = transformers.WhisperTokenizer(vocab=letters, merges=[])
    special = ("startoftranscript", "en", "de", "translate", "transcribe", "notimestamps")
    tokeniser.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in special]})
    number = {name: tokeniser.convert_tokens_to_ids(f"<|{name}|>") for name in special}
    end = tokeniser.convert_tokens_to_ids("<|endoftext|>")
    ends = {"eos_token_id": end, "bos_token_id": end, "pad_token_id": end}
    library = transformers.WhisperConfig(
        **{"vocab_size": len(tokeniser), "d_model": 32, "max_target_positions": 24, **ends},
        **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": 4 for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 64 for part in ("encoder", "decoder")},
        decoder_start_token_id=number["startoftranscript"],
        begin_suppress_tokens=None,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        model = transformers.WhisperForConditionalGeneration(library)
        # At their usual size, random weights would say the same token for ever.
        for name, parameter in model.named_parameters():
            if "decoder.embed_positions" in name:
                parameter.mul_(60)
            elif parameter.ndim > 1 and "embed_positions" not in name:
                parameter.mul_(20)
    model.generation_config = transformers.GenerationConfig(
        **ends,
        max_length=24,
        decoder_start_token_id=number["startoftranscript"],
        is_multilingual=True,
        lang_to_id={f"<|{name}|>": number[name] for name in ("en", "de")},
        task_to_id={name: number[name] for name in ("transcribe", "translate")},
        no_timestamps_token_id=number["notimestamps"],
    )
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_that_reads() -> Callable[..., EmotionModel]:
    """Return what makes a tiny model of transcripts, alone or beside a small CNN."""
    from ser_model.models.base import ModelConfig, build_model
    from ser_model.models.cnn14 import Cnn14Config
    from ser_model.models.fusion import FusionConfig
    from ser_model.models.head import HeadConfig
    from ser_model.models.text_transformer_config import TextTransformerConfig
    from ser_model.models.tokeniser import make_tokeniser
    from ser_model.schema import DIMENSIONS

    def make(
        transcripts: Sequence[str | None],
        *,
        hears: bool = True,
        kind: str = "concatenation",
        **choices: object,
    ) -> EmotionModel:
        text = TextTransformerConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            vocab_size=100,
            max_position_embeddings=32,
            max_tokens=32,
            **choices,
        )
        config = ModelConfig(
            task="dimensions",
            targets=DIMENSIONS,
            backbone=Cnn14Config(channels=(4, 8), num_pools=2) if hears else text,
            pooling="mean",
            head=HeadConfig(num_hidden=8),
            fusion=FusionConfig(kind=kind, text=text) if hears else None,
        )
        tokeniser = make_tokeniser([text for text in transcripts if text], vocab_size=100)
        return build_model(config, 0, tokeniser)

    return make
