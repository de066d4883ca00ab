"""The emotion model: a backbone, a pooling and a head, put together by a configuration.

There is one class of model. What distinguishes models is their configuration, never a subclass.

Shapes: B batch, N samples, T frames or tokens, D hidden features, C channels, K scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias

import torch
from torch import Tensor, nn

from ser_model.models.cnn14 import Cnn14Config, frame_mask
from ser_model.models.egemaps import EgemapsConfig
from ser_model.models.fusion import FusionConfig
from ser_model.models.head import HeadConfig
from ser_model.models.parts import build_backbone, build_fusion, build_head, initialise
from ser_model.models.pooling import Pooling, PoolingName
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.support_vectors import SupportVectorConfig
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.whisper_encoder import WhisperConfig
from ser_model.schema import DIMENSIONS

Task: TypeAlias = Literal["dimensions", "emotion"]
AudioConfig: TypeAlias = Cnn14Config | SpeechTransformerConfig | WhisperConfig | EgemapsConfig
BackboneConfig: TypeAlias = AudioConfig | TextTransformerConfig
ModelPart: TypeAlias = Literal["front_end", "encoder", "text"]
"""What training can freeze: the text backbone as a whole, or parts of the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """All that a model is apart from its weights.

    Attributes:
        task: dimensions (a value each) or emotion (a category).
        targets: what the scores mean, in their order: DIMENSIONS, or the categories sorted.
        backbone: waveforms to frames; or, in a model of text alone, transcripts to tokens.
        pooling: frames to one vector.
        head: the vector to scores.
        fusion: how text joins the audio; None for a model of audio or of text alone.
    """

    task: Task
    targets: tuple[str, ...]
    backbone: BackboneConfig
    pooling: PoolingName
    head: HeadConfig | SupportVectorConfig
    fusion: FusionConfig | None = None

    def __post_init__(self) -> None:
        """Check that the scores have a meaning."""
        if self.task == "dimensions" and self.targets != DIMENSIONS:
            raise ValueError(f"targets must be {', '.join(DIMENSIONS)}, not {self.targets}")
        if self.task == "emotion":
            if list(self.targets) != sorted(set(self.targets)):
                raise ValueError(f"targets {self.targets} must be sorted and unique")
            if len(self.targets) < 2:
                raise ValueError(f"targets {self.targets} must be two categories or more")
        if self.fusion is None:
            return
        if isinstance(self.backbone, TextTransformerConfig):
            raise ValueError("fusion joins text with audio: the backbone must hear")
        if self.fusion.kind == "every_block" and not isinstance(self.backbone, Cnn14Config):
            raise ValueError("fusion of the kind every_block needs the blocks of a cnn14")

    @property
    def text(self) -> TextTransformerConfig | None:
        """What the transcripts are read by; None in a model of audio alone."""
        if isinstance(self.backbone, TextTransformerConfig):
            return self.backbone
        return None if self.fusion is None else self.fusion.text

    @property
    def needs_transcript(self) -> bool:
        """Whether a segment without transcript is rejected."""
        return self.text is not None and self.text.missing_transcript == "reject"

    def with_text(self, text: TextTransformerConfig) -> ModelConfig:
        """Return the configuration with another text backbone in place of the one it has."""
        if self.fusion is None:
            return replace(self, backbone=text)
        return replace(self, fusion=replace(self.fusion, text=text))


class ModelOutput(NamedTuple):
    """What a model says of a batch.

    Attributes:
        scores: scores_BK; dimensions on about 0 to 1, categories as logits.
        embedding: embedding_BD, the vector before the head: what is pooled, text and audio joined.
    """

    scores: Tensor
    embedding: Tensor


class Scorer(Protocol):
    """What scoring needs of a model, whatever runs it.

    Attributes:
        task: dimensions or emotion.
        targets: what the scores mean, in their order.
        min_samples: shortest waveform that can be scored, in samples at 16 kHz.
        padding_free: whether scoring leaves padding out, so that rows of any lengths go together.
        uses_text: whether it reads transcripts.
        needs_transcript: whether a segment without transcript cannot be scored. A model that uses
            text and does not need it takes it to be empty.
    """

    task: Task
    targets: tuple[str, ...]
    min_samples: int
    padding_free: bool
    uses_text: bool
    needs_transcript: bool

    def to(self, device: str) -> Self:
        """Move the model to a device."""

    def eval(self) -> Self:
        """Make the model ready to score."""

    def __call__(
        self, waveform_BN: Tensor, num_samples_B: Tensor, transcripts: Sequence[str] | None = None
    ) -> ModelOutput:
        """Score a batch; transcripts of a model that uses text are those of its rows."""


class EmotionModel(nn.Module):
    """Waveforms, transcripts or both to scores; a row's do not depend on the other rows (to 1e-5).

    Attributes:
        config: the configuration that it was made of.
        targets: what the scores mean, in their order.
        task: dimensions or emotion.
        min_samples: shortest waveform that can be scored, in samples at 16 kHz.
        padding_free: whether scoring leaves padding out, so that rows of any lengths go together.
        uses_text: whether it reads transcripts.
        needs_transcript: whether a segment without transcript cannot be scored.
        fusion: what joins text and audio; None in a model of one of them alone.
    """

    def __init__(self, config: ModelConfig, tokeniser: bytes | None = None) -> None:
        """Make a model with random weights; `build_model` makes them repeatable.

        Args:
            config: all but the weights. `tokeniser_sha256` becomes that of the tokeniser.
            tokeniser: of a model of text, the content of its `tokenizer.json`; None for one that
                only spells.

        Raises:
            ModelError: the tokeniser cannot be used.
        """
        super().__init__()
        self.targets = config.targets
        self.task = config.task
        self.backbone = build_backbone(config.backbone, tokeniser)
        self.pooling = Pooling(config.pooling, self.backbone.num_hidden)
        self.fusion = build_fusion(config, num_pooled=self.pooling.num_pooled, tokeniser=tokeniser)
        num_in = self.pooling.num_pooled if self.fusion is None else self.fusion.num_fused
        self.head = build_head(config, num_in=num_in)
        self.min_samples = self.backbone.min_samples
        self.padding_free = self.backbone.padding_free
        text = config.text
        self.uses_text = text is not None
        self.needs_transcript = config.needs_transcript
        if text is not None and self.text is not None:
            sha256 = self.text.tokeniser.sha256
            config = config.with_text(replace(text, tokeniser_sha256=sha256))
        self.config = config
        self._frozen: list[nn.Module] = []

    @property
    def text(self) -> TextTransformer | None:
        """The backbone that reads transcripts; None in a model of audio alone."""
        if isinstance(self.backbone, TextTransformer):
            return self.backbone
        return None if self.fusion is None else self.fusion.text

    def freeze(self, parts: Sequence[ModelPart]) -> None:
        """Leave parts as they are: no gradient, and eval mode whatever comes.

        In train mode, dropout would still change what a frozen part says, and batch norm its state.

        Raises:
            ValueError: there is no such part.
        """
        self._frozen = [module for part in parts for module in self._modules_of(part)]
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set train mode, but for what is frozen."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(
        self, waveform_BN: Tensor, num_samples_B: Tensor, transcripts: Sequence[str] | None = None
    ) -> ModelOutput:
        """Score a batch.

        Args:
            waveform_BN: float32 samples at 16 kHz, rows padded to the same length.
            num_samples_B: int64, the true length of each row, at least `min_samples`.
            transcripts: of the rows; a model of audio alone does not look at them.
        """
        return self.score(*self.prepare(waveform_BN, num_samples_B), transcripts)

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Do the part that has no parameters; return inputs_BT... and num_inputs_B for `score`.

        Raises:
            ValueError: a row is shorter than `min_samples`.
        """
        shortest = int(num_samples_B.min())
        if shortest < self.min_samples:
            raise ValueError(f"a row has {shortest} samples; the model needs {self.min_samples}")
        return self.backbone.prepare(waveform_BN, num_samples_B)

    def score(
        self, inputs_BT: Tensor, num_inputs_B: Tensor, transcripts: Sequence[str] | None = None
    ) -> ModelOutput:
        """Score what `prepare` returned.

        Raises:
            ValueError: the model reads text, and there are no transcripts.
        """
        text_BD = None if self.fusion is None else self.fusion.embed(transcripts)
        hidden_BTD, mask_BT = self._states(inputs_BT, num_inputs_B, transcripts, text_BD)
        # Without autocast: a head in bfloat16 would give scores in steps of .002, for nothing.
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            pooled_BD = self.pooling(hidden_BTD.float(), mask_BT)
            if self.fusion is not None and text_BD is not None:
                pooled_BD = self.fusion.join(pooled_BD, text_BD)
            return ModelOutput(scores=self.head(pooled_BD), embedding=pooled_BD)

    def _states(
        self,
        inputs_BT: Tensor,
        num_inputs_B: Tensor,
        transcripts: Sequence[str] | None,
        text_BD: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return hidden_BTD of frames or tokens, and mask_BT of those that pooling sees."""
        if isinstance(self.backbone, TextTransformer):
            hidden_BTD, mask_BT = self.backbone(transcripts)
            return hidden_BTD, mask_BT
        shifts = [] if self.fusion is None or text_BD is None else self.fusion.block_shifts(text_BD)
        inputs = (inputs_BT, num_inputs_B, shifts) if shifts else (inputs_BT, num_inputs_B)
        hidden_BTD, num_frames_B = self.backbone(*inputs)
        return hidden_BTD, frame_mask(num_frames_B, hidden_BTD.shape[1])

    def _modules_of(self, part: ModelPart) -> tuple[nn.Module, ...]:
        if part != "text":
            return self.backbone.modules_of(part)
        if self.text is None:
            raise ValueError("freeze: there is no text in a model of audio alone")
        return (self.text.transformer,)


def build_model(config: ModelConfig, seed: int, tokeniser: bytes | None = None) -> EmotionModel:
    """Return a model with random weights that depend on the seed alone; torch's own state stays.

    Example:
        >>> config = ModelConfig(
        ...     task="dimensions",
        ...     targets=DIMENSIONS,
        ...     backbone=Cnn14Config(channels=(4, 8), num_pools=2),
        ...     pooling="mean",
        ...     head=HeadConfig(num_hidden=8),
        ... )
        >>> model = build_model(config, seed=0).eval()
        >>> model(torch.zeros(1, 16_000), torch.tensor([16_000])).scores.shape
        torch.Size([1, 3])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = EmotionModel(config, tokeniser)
        initialise(model)
    return model


def layer_importance(model: EmotionModel) -> tuple[float, ...] | None:
    """Return the weights of a layer-weighted sum; None for a model that has none.

    Returns:
        Positive numbers that sum to 1: of what the first layer gets, then of each layer.
    """
    layer_sum = getattr(model.backbone, "layer_sum", None)
    return None if layer_sum is None else tuple(layer_sum.weights().tolist())
