"""Models of text, and of text and audio, against the library's BertModel and plain torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from transformers import BertTokenizer

from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14, Cnn14Config
from ser_model.models.fusion import FusionConfig
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.tokeniser import SPECIAL_TOKENS, wordpiece_tokeniser
from ser_model.schema import DIMENSIONS, ModelError

TOLERANCE = 1e-5
VOCABULARY = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz", "i", "am", "glad", "sad", "##s", "it"]
TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "max_tokens": 20,
}
AUDIO = {
    "cnn14": Cnn14Config(channels=(4, 8, 8), num_pools=3, pool="max"),
    "hubert": SpeechTransformerConfig(
        family="hubert",
        do_normalize=True,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    ),
}
FUSIONS = {
    "concatenation": ("hubert", "concatenation", "max_plus_mean"),
    "concatenation-cnn14": ("cnn14", "concatenation", "mean"),
    "shallow": ("cnn14", "shallow", "mean"),
    "every_block": ("cnn14", "every_block", "mean"),
}
SEGMENTS = [
    (4_000, "I am glad"),
    (12_000, ""),
    (1_601, "it is sad, so sad, so very very sad that i cannot say how sad it is to me"),
    (12_345, "glads"),
    (7_777, "am I?"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def make_model(
    backbone: object, *, pooling: str = "mean", fusion: FusionConfig | None = None
) -> EmotionModel:
    config = ModelConfig(
        task="dimensions",
        targets=DIMENSIONS,
        backbone=backbone,
        pooling=pooling,
        head=HeadConfig(num_hidden=16, activation="tanh"),
        fusion=fusion,
    )
    model = build_model(config, 1, wordpiece_tokeniser(VOCABULARY))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def text_model(pooling: str = "mean", **choices: object) -> EmotionModel:
    return make_model(TextTransformerConfig(**TINY, **choices), pooling=pooling)


def fusion_model(name: str) -> EmotionModel:
    audio, kind, pooling = FUSIONS[name]
    fusion = FusionConfig(kind=kind, pooling=pooling, text=TextTransformerConfig(**TINY))
    return make_model(AUDIO[audio], pooling="max_plus_mean", fusion=fusion)


def waveforms() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(length, generator=generator) for length, _ in SEGMENTS]


def score_alone(model: EmotionModel, row: torch.Tensor, transcript: str) -> torch.Tensor:
    return model(row[None], torch.tensor([len(row)]), [transcript]).scores[0]


def score_together(model: EmotionModel, order: list[int]) -> torch.Tensor:
    rows, texts = waveforms(), [transcript for _, transcript in SEGMENTS]
    batch = torch.nn.utils.rnn.pad_sequence(
        [rows[i] for i in order], batch_first=True, padding_value=3.0
    )
    lengths = torch.tensor([len(rows[i]) for i in order])
    return model(batch, lengths, [texts[i] for i in order]).scores


def plain_tokens(bert: torch.nn.Module, transcript: str, *, special: bool = True) -> torch.Tensor:
    """The states of one transcript's tokens, by the library alone."""
    library = BertTokenizer(vocab={token: index for index, token in enumerate(VOCABULARY)})
    inputs = library([transcript], truncation=True, max_length=20, return_tensors="pt")
    hidden = bert(**inputs).last_hidden_state[0]
    return hidden if special or len(hidden) == 2 else hidden[1:-1]


def plain_head(model: EmotionModel, pooled: torch.Tensor) -> torch.Tensor:
    return model.head.out_proj(torch.tanh(model.head.dense(pooled)))


def max_plus_mean(frames: torch.Tensor) -> torch.Tensor:
    return frames.max(dim=0).values + frames.mean(dim=0)


@torch.inference_mode()
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pooling", get_args(PoolingName))
def test_a_text_model_scores_as_the_library_and_a_head(
    pooling: str, special: bool, plain_pool: object
) -> None:
    model = text_model(pooling, special_tokens=special)
    expected = torch.stack(
        [
            plain_head(
                model,
                plain_pool(
                    model, plain_tokens(model.backbone.transformer, transcript, special=special)
                ),
            )
            for _, transcript in SEGMENTS
        ]
    )
    assert expected.std(dim=0).min() > 100 * TOLERANCE, "the scores must depend on the text"
    together = score_together(model, [0, 1, 2, 3, 4])
    torch.testing.assert_close(together, expected, rtol=0.0, atol=TOLERANCE)
    alone = [score_alone(model, row, SEGMENTS[i][1]) for i, row in enumerate(waveforms())]
    torch.testing.assert_close(torch.stack(alone), expected, rtol=0.0, atol=TOLERANCE)


def test_special_tokens_are_a_choice_that_changes_the_mean() -> None:
    included, excluded = text_model(special_tokens=True), text_model(special_tokens=False)
    excluded.load_state_dict(included.state_dict())
    silence = torch.zeros(16_000)
    differ = [
        not torch.allclose(score_alone(included, silence, t), score_alone(excluded, silence, t))
        for t in ("I am glad", "")
    ]
    assert differ == [True, False]


def plain_cnn14(
    backbone: Cnn14, waveform: torch.Tensor, shifts: list[torch.Tensor] | None
) -> torch.Tensor:
    """One segment through the blocks as MFCNN14's equations 1 to 4 are written: no mask."""
    weights = backbone.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = [weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts)

    spectrum = torch.stft(
        waveform, 512, 160, window=torch.hann_window(512), pad_mode="reflect", return_complex=True
    )
    mel = backbone.logmel.filters_FM.T @ spectrum.abs().square()
    x = norm((10 * mel.clamp(min=1e-10).log10())[None, :, :, None], "mel_norm").permute(0, 3, 2, 1)
    for index in range(3):
        for conv in ("1", "2"):
            x = F.conv2d(x, weights[f"blocks.{index}.conv{conv}.weight"], padding=1)
            x = F.relu(norm(x, f"blocks.{index}.norm{conv}"))
        x = F.max_pool2d(x, 2)
        if shifts is not None:
            x = x + shifts[index].reshape(1, -1, 1, 1)
    return x.mean(dim=3)[0].T


def plain_fusion(model: EmotionModel, waveform: torch.Tensor, transcript: str) -> torch.Tensor:
    fusion, kind = model.fusion, model.config.fusion.kind
    tokens = plain_tokens(fusion.text.transformer, transcript)
    text = tokens.mean(dim=0)
    if model.config.fusion.pooling == "max_plus_mean":
        text = max_plus_mean(tokens)
    linear = [F.linear(text, p.weight, p.bias) for p in fusion.projections]
    if isinstance(model.backbone, Cnn14):
        frames = plain_cnn14(model.backbone, waveform, linear if kind == "every_block" else None)
    else:
        normal = (waveform - waveform.mean()) / torch.sqrt(waveform.var(correction=0) + 1e-7)
        frames = model.backbone.transformer(normal[None]).last_hidden_state[0]
    pooled = max_plus_mean(frames)
    if kind == "shallow":
        pooled = pooled + linear[0]
    return plain_head(model, torch.cat([pooled, text]) if kind == "concatenation" else pooled)


@torch.inference_mode()
@pytest.mark.parametrize("name", FUSIONS)
def test_fusion_scores_as_its_paper_writes_it_alone_and_in_any_batch(name: str) -> None:
    model = fusion_model(name)
    rows = waveforms()
    expected = torch.stack([plain_fusion(model, rows[i], t) for i, (_, t) in enumerate(SEGMENTS)])
    for order in ([0, 1, 2, 3, 4], [4, 2], [3, 1, 0], [2]):
        together = score_together(model, order)
        torch.testing.assert_close(together, expected[order], rtol=0.0, atol=TOLERANCE)
    other_text = score_alone(model, rows[0], "sad")
    other_audio = score_alone(model, rows[1][: len(rows[0])], SEGMENTS[0][1])
    for other in (other_text, other_audio):
        assert (other - expected[0]).abs().max() > 100 * TOLERANCE, "text and audio both count"


def full_size(fusion: str | None, backbone: object) -> EmotionModel:
    text = TextTransformerConfig()  # BERT base
    return EmotionModel(
        ModelConfig(
            task="dimensions",
            targets=DIMENSIONS,
            backbone=backbone,
            pooling="max_plus_mean",
            head=HeadConfig(num_hidden=2048),
            fusion=None if fusion is None else FusionConfig(kind=fusion, text=text),
        )
    )


def test_the_papers_networks_have_the_papers_numbers_of_parameters() -> None:
    cnn14 = Cnn14Config(pool="max", num_pools=6)
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser_model.models.cnn14.LogMel", lambda **_: torch.nn.Identity())
        plain = full_size(None, cnn14)
        shallow, every_block = full_size("shallow", cnn14), full_size("every_block", cnn14)
    sizes = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in {
            "cnn14": plain,
            "bert": shallow.fusion.text,
            "shallow": shallow.fusion.projections,
            "every_block": every_block.fusion.projections,
        }.items()
    }
    assert {name: round(size / 1e5) for name, size in sizes.items()} == {
        "cnn14": 797,
        "bert": 1089,  # 109.5 M with the pooler, which has no part in a mean of tokens
        "shallow": 16,
        "every_block": 31,
    }


@torch.inference_mode()
@pytest.mark.parametrize("name", ["text", *FUSIONS])
@pytest.mark.parametrize("scheme", ["", "memory://text-models-test"])
def test_a_model_comes_back_with_its_tokeniser_and_its_scores(
    tmp_path: Path, name: str, scheme: str
) -> None:
    uri = f"{scheme or tmp_path}/{name}"
    model = text_model() if name == "text" else fusion_model(name)
    save_model(model, uri)
    loaded = load_model(uri)
    assert loaded.config == model.config
    assert loaded.text.tokeniser.sha256 == loaded.config.text.tokeniser_sha256
    assert weights_sha256(loaded) == weights_sha256(uri)
    order = list(range(len(SEGMENTS)))
    assert torch.equal(score_together(loaded, order), score_together(model, order))


def test_another_tokeniser_beside_the_weights_is_refused(tmp_path: Path) -> None:
    save_model(text_model(), str(tmp_path))
    tokeniser = tmp_path / "tokenizer.json"
    tokeniser.write_bytes(wordpiece_tokeniser(VOCABULARY[:-1]))
    with pytest.raises(ModelError, match=r"tokenizer.json is not the tokeniser"):
        load_model(str(tmp_path))
    tokeniser.unlink()
    with pytest.raises(ModelError, match=r"tokenizer.json cannot be read \(no such file\)"):
        load_model(str(tmp_path))


def test_the_hash_of_a_model_covers_its_tokeniser() -> None:
    models = [
        build_model(text_model().config, 1, wordpiece_tokeniser(vocabulary))
        for vocabulary in (VOCABULARY, [*VOCABULARY, "new"])
    ]
    assert torch.equal(*(next(model.parameters()) for model in models))
    assert len({weights_sha256(model) for model in models}) == 2


def test_a_tokeniser_of_more_tokens_than_embeddings_is_refused() -> None:
    text = TextTransformerConfig(**{**TINY, "vocab_size": 20})
    with pytest.raises(ModelError, match="has 37 tokens, and vocab_size is 20"):
        make_model(text)


def test_what_can_be_frozen_and_what_cannot() -> None:
    model = fusion_model("every_block").train()
    model.freeze(["text"])
    assert not any(p.requires_grad for p in model.fusion.text.parameters())
    assert not any(layer.training for layer in model.fusion.text.transformer.modules())
    assert all(p.requires_grad for p in model.fusion.projections.parameters())
    assert all(p.requires_grad for p in model.backbone.parameters())
    alone = text_model().train()
    alone.freeze(["text"])
    trained = {name for name, p in alone.named_parameters() if p.requires_grad}
    assert trained == {f"head.{n}.{p}" for n in ("dense", "out_proj") for p in ("weight", "bias")}
    with pytest.raises(ValueError, match="there is no text"):
        make_model(AUDIO["cnn14"]).freeze(["text"])


def test_combinations_without_meaning_are_refused() -> None:
    text = TextTransformerConfig(**TINY)
    with pytest.raises(ValueError, match="the backbone must hear"):
        make_model(text, fusion=FusionConfig(kind="concatenation", text=text))
    with pytest.raises(ValueError, match="every_block needs the blocks of a cnn14"):
        make_model(AUDIO["hubert"], fusion=FusionConfig(kind="every_block", text=text))
    with pytest.raises(ValueError, match="max_tokens 41 is not 3 to"):
        TextTransformerConfig(**{**TINY, "max_tokens": 41})
    with pytest.raises(ValueError, match="give a transcript for each row"):
        text_model()(torch.zeros(1, 8000), torch.tensor([8000]))


@torch.inference_mode()
def test_an_output_layer_can_be_the_whole_head() -> None:
    config = ModelConfig(
        task="emotion",
        targets=("anger", "joy"),
        backbone=TextTransformerConfig(**TINY),
        pooling="mean",
        head=HeadConfig(num_hidden=None, dropout=0.1),
    )
    model = build_model(config, 0).eval()
    output = model(torch.zeros(1, 8000), torch.tensor([8000]), ["so"])
    layer = model.head.out_proj
    assert torch.equal(output.scores, F.linear(output.embedding, layer.weight, layer.bias))
    assert not any("dense" in name for name in model.head.state_dict())
