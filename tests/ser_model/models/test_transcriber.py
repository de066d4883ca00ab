"""Transcripts of tiny models with random weights, against the library's of one file at a time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from ser_model.models.transcriber import load_transcriber
from ser_model.schema import ModelError

LENGTHS = (16_000, 400, 5_000, 48_000, 16_000, 31_000)
PIECE = 480_000
FAMILIES = {
    "wav2vec2-base": ("Wav2Vec2", False),
    "wav2vec2-large": ("Wav2Vec2", True),
    "hubert-base": ("Hubert", False),
    "unispeech-large": ("UniSpeech", True),
    "wavlm-base": ("WavLM", False),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def waveforms(lengths: tuple[int, ...]) -> list[torch.Tensor]:
    generator = np.random.default_rng(0)
    rows = []
    for number, length in enumerate(lengths):
        tone = np.sin(np.arange(length) / (3 + 10 * number))
        rows.append(torch.from_numpy(0.1 * generator.standard_normal(length) * tone).float())
    return rows


def transcribe(folder: Path, rows: list[torch.Tensor]) -> list[str]:
    batch_BN = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.inference_mode():
        return load_transcriber(str(folder))(batch_BN, torch.tensor([len(row) for row in rows]))


def plain_ctc(folder: Path, prefix: str, rows: list[torch.Tensor]) -> list[str]:
    """What model cards of CTC models do, file by file."""
    extract = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = getattr(transformers, f"{prefix}ForCTC").from_pretrained(folder).eval()
    tokeniser = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    texts = []
    for row in rows:
        inputs = extract(row.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        with torch.inference_mode():
            logits = model(inputs).logits
        texts += tokeniser.batch_decode(logits.argmax(dim=-1))
    return texts


def plain_whisper(
    folder: Path, rows: list[torch.Tensor], task: str = "transcribe", **options: object
) -> list[str]:
    """What model cards of Whisper do, for each 30 s of each file."""
    extract = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder, **options).eval()
    tokeniser = transformers.WhisperTokenizer.from_pretrained(folder)
    texts = []
    for row in rows:
        pieces = []
        for begin in range(0, len(row), PIECE):
            piece = row[begin : begin + PIECE].numpy()
            inputs = extract(piece, sampling_rate=16_000, return_tensors="pt").input_features
            tokens = model.generate(inputs, task=task)
            pieces.append(tokeniser.batch_decode(tokens, skip_special_tokens=True)[0].strip())
        texts.append(" ".join(filter(None, pieces)))
    return texts


@pytest.mark.parametrize("family", FAMILIES)
def test_ctc_says_what_the_library_says_of_each_file_alone(
    ctc_writer: Callable[..., Path], tmp_path: Path, family: str
) -> None:
    prefix, large = FAMILIES[family]
    norms = {"do_stable_layer_norm": large, "conv_bias": large}
    folder = ctc_writer(
        tmp_path / "model",
        prefix=prefix,
        feat_extract_norm="layer" if large else "group",
        **norms,
    )
    rows = waveforms(LENGTHS)
    expected = plain_ctc(folder, prefix, rows)
    assert len(set(expected)) > 3 and max(map(len, expected)) > 20, "they do say something"
    assert transcribe(folder, rows) == expected
    assert transcribe(folder, rows[::-1]) == expected[::-1]
    assert transcribe(folder, [torch.zeros(16_000)]) == plain_ctc(
        folder, prefix, [torch.zeros(16_000)]
    )


def test_whisper_says_what_the_library_says_of_each_file_alone(whisper_folder: Path) -> None:
    rows = [*waveforms((16_000, 400, 90_000, PIECE + 20_000)), torch.zeros(16_000)]
    expected = plain_whisper(whisper_folder, rows)
    assert len(set(expected)) == len(rows) and max(map(len, expected)) > 10, "they say something"
    assert len({len(text) for text in expected}) > 2, "some end before others"
    assert transcribe(whisper_folder, rows) == expected
    assert transcribe(whisper_folder, rows[::-1]) == expected[::-1]


def test_whisper_never_translates(whisper_folder: Path, tmp_path: Path) -> None:
    """Even where an older file asks for it, as those on the hub once did."""
    rows = waveforms((16_000, 90_000))
    translated = plain_whisper(whisper_folder, rows, task="translate")
    folder = copied(whisper_folder, tmp_path / "model")
    number = json.loads((folder / "generation_config.json").read_text())["task_to_id"]["translate"]
    edit_json(folder / "generation_config.json", forced_decoder_ids=[[1, None], [2, number]])
    assert transcribe(folder, rows) == plain_whisper(whisper_folder, rows) != translated


def test_files_of_whisper_as_they_are_on_the_hub(whisper_folder: Path, tmp_path: Path) -> None:
    """Older ones hold half-precision weights, and repeat in config.json how to generate."""
    folder = copied(whisper_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    del config["dtype"]
    (folder / "config.json").write_text(json.dumps(config))
    number = json.loads((folder / "generation_config.json").read_text())["task_to_id"]
    old = {"torch_dtype": "float16", "suppress_tokens": [3], "begin_suppress_tokens": [5]}
    forced = [[1, None], [2, number["transcribe"]]]
    edit_json(folder / "config.json", **old, max_length=24, forced_decoder_ids=forced)
    edit_json(folder / "generation_config.json", suppress_tokens=[3], begin_suppress_tokens=[5])
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    halves = {name: weight.half() for name, weight in weights.items()}
    safetensors.torch.save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    rows = waveforms((16_000, 90_000))
    expected = plain_whisper(folder, rows, dtype=torch.float32)
    assert transcribe(folder, rows) == expected != plain_whisper(whisper_folder, rows)


def test_pieces_of_whisper_in_several_goes_are_the_same(
    whisper_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = waveforms((16_000, 400, 5_000))
    whole = transcribe(whisper_folder, rows)
    monkeypatch.setattr("ser_model.models.whisper_transcriber.PIECES_AT_A_TIME", 2)
    assert transcribe(whisper_folder, rows) == whole


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.glob("*.*"):
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_the_hash_is_of_all_that_transcripts_depend_on(ctc_folder: Path, tmp_path: Path) -> None:
    sha256 = load_transcriber(str(ctc_folder)).weights_sha256
    same = copied(ctc_folder, tmp_path / "same")
    weights = safetensors.torch.load_file(same / "model.safetensors")
    (same / "model.safetensors").unlink()
    torch.save(weights, same / "pytorch_model.bin")
    assert load_transcriber(str(same)).weights_sha256 == sha256, "however weights are stored"
    tokens = json.loads((same / "vocab.json").read_text())
    edit_json(same / "vocab.json", E=tokens["T"], T=tokens["E"])
    assert load_transcriber(str(same)).weights_sha256 != sha256
    other = copied(ctc_folder, tmp_path / "other")
    weights["lm_head.bias"] += 1
    safetensors.torch.save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    assert load_transcriber(str(other)).weights_sha256 != sha256
    normalised = copied(ctc_folder, tmp_path / "normalised")
    edit_json(normalised / "preprocessor_config.json", do_normalize=False)
    assert load_transcriber(str(normalised)).weights_sha256 != sha256


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("ctc", "feature_projection.projection.bias"),
        ("ctc", "lm_head.weight"),
        ("whisper", "decoder.layer_norm.bias"),
        ("whisper", "encoder.embed_positions.weight"),
    ],
)
def test_no_weight_may_be_missing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, missing: str
) -> None:
    folder = copied(request.getfixturevalue(f"{kind}_folder"), tmp_path / "model")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.endswith(missing)}
    assert len(kept) == len(weights) - 1
    safetensors.torch.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=missing):
        load_transcriber(str(folder))


def test_what_transcribes_nothing_is_refused(
    hub_folder: Callable[..., Path], ctc_folder: Path, whisper_folder: Path, tmp_path: Path
) -> None:
    emotion = hub_folder(tmp_path / "emotion")
    with pytest.raises(ModelError, match=r"no model that transcribes.*Wav2Vec2ForSpeechClass"):
        load_transcriber(str(emotion))
    for folder, file in ((ctc_folder, "vocab.json"), (whisper_folder, "tokenizer.json")):
        without = copied(folder, tmp_path / f"without {file}")
        (without / file).unlink()
        with pytest.raises(ModelError, match=f"has no .*{file}"):
            load_transcriber(str(without))
        broken = copied(folder, tmp_path / f"broken {file}")
        (broken / file).write_bytes(b"\xff\xfe{")
        with pytest.raises(ModelError, match=r" of .* cannot be read"):
            load_transcriber(str(broken))
    nested = copied(ctc_folder, tmp_path / "nested")
    (nested / "vocab.json").write_text(json.dumps({"eng": {"a": 0}, "deu": {"a": 0}}))
    with pytest.raises(ModelError, match="must give each token a number"):
        load_transcriber(str(nested))
    adapted = copied(ctc_folder, tmp_path / "adapted")
    edit_json(adapted / "config.json", add_adapter=True)
    with pytest.raises(ModelError, match="add_adapter True is not built"):
        load_transcriber(str(adapted))
