"""The emotion model: a backbone, a pooling and a head, put together by a configuration.

There is one class of model. What distinguishes models is their configuration, never a subclass.

Shapes: B batch, N samples, T frames, D hidden features, K scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias

import torch
from torch import Tensor, nn

from ser_model.models.backbone import Backbone, PartName
from ser_model.models.cnn14 import Cnn14, Cnn14Config, frame_mask
from ser_model.models.egemaps import Egemaps, EgemapsConfig
from ser_model.models.head import Head, HeadConfig
from ser_model.models.pooling import Pooling, PoolingName
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.support_vectors import SupportVectorConfig, SupportVectorHead
from ser_model.models.whisper_encoder import WhisperConfig, WhisperEncoder
from ser_model.schema import DIMENSIONS

Task: TypeAlias = Literal["dimensions", "emotion"]
BackboneConfig: TypeAlias = Cnn14Config | SpeechTransformerConfig | WhisperConfig | EgemapsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """All that a model is apart from its weights.

    Attributes:
        task: dimensions (a value each) or emotion (a category).
        targets: what the scores mean, in their order: DIMENSIONS, or the categories sorted.
        backbone: waveforms to frames.
        pooling: frames to one vector.
        head: the vector to scores.
    """

    task: Task
    targets: tuple[str, ...]
    backbone: BackboneConfig
    pooling: PoolingName
    head: HeadConfig | SupportVectorConfig

    def __post_init__(self) -> None:
        """Check that the scores have a meaning."""
        if self.task == "dimensions" and self.targets != DIMENSIONS:
            raise ValueError(f"targets must be {', '.join(DIMENSIONS)}, not {self.targets}")
        if self.task == "emotion":
            if list(self.targets) != sorted(set(self.targets)):
                raise ValueError(f"targets {self.targets} must be sorted and unique")
            if len(self.targets) < 2:
                raise ValueError(f"targets {self.targets} must be two categories or more")


class ModelOutput(NamedTuple):
    """What a model says of a batch.

    Attributes:
        scores: scores_BK; dimensions on about 0 to 1, categories as logits.
        embedding: embedding_BD, the pooled frames before the head.
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
    """

    task: Task
    targets: tuple[str, ...]
    min_samples: int
    padding_free: bool

    def to(self, device: str) -> Self:
        """Move the model to a device."""

    def eval(self) -> Self:
        """Make the model ready to score."""

    def __call__(self, waveform_BN: Tensor, num_samples_B: Tensor) -> ModelOutput:
        """Score a batch."""


class EmotionModel(nn.Module):
    """Waveforms to scores. A row's scores do not depend on the other rows (to 1e-5).

    Attributes:
        config: the configuration that it was made of.
        targets: what the scores mean, in their order.
        task: dimensions or emotion.
        min_samples: shortest waveform that can be scored, in samples at 16 kHz.
        padding_free: whether scoring leaves padding out, so that rows of any lengths go together.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Make a model with random weights; `build_model` makes them repeatable."""
        super().__init__()
        self.config = config
        self.targets = config.targets
        self.task = config.task
        self.backbone = _build_backbone(config.backbone)
        self.pooling = Pooling(config.pooling, self.backbone.num_hidden)
        self.head = _build_head(config, num_in=self.pooling.num_pooled)
        self.min_samples = self.backbone.min_samples
        self.padding_free = self.backbone.padding_free
        self._frozen: list[nn.Module] = []

    def freeze(self, parts: Sequence[PartName]) -> None:
        """Leave parts of the backbone as they are: no gradient, and eval mode whatever comes.

        In train mode, dropout would still change what a frozen part says, and batch norm its state.
        """
        self._frozen = [module for part in parts for module in self.backbone.modules_of(part)]
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set train mode, but for what is frozen."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, waveform_BN: Tensor, num_samples_B: Tensor) -> ModelOutput:
        """Score a batch.

        Args:
            waveform_BN: float32 samples at 16 kHz, rows padded to the same length.
            num_samples_B: int64, the true length of each row, at least `min_samples`.
        """
        return self.score(*self.prepare(waveform_BN, num_samples_B))

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Do the part that has no parameters; return inputs_BT... and num_inputs_B for `score`.

        Raises:
            ValueError: a row is shorter than `min_samples`.
        """
        shortest = int(num_samples_B.min())
        if shortest < self.min_samples:
            raise ValueError(f"a row has {shortest} samples; the model needs {self.min_samples}")
        return self.backbone.prepare(waveform_BN, num_samples_B)

    def score(self, inputs_BT: Tensor, num_inputs_B: Tensor) -> ModelOutput:
        """Score what `prepare` returned."""
        hidden_BTD, num_frames_B = self.backbone(inputs_BT, num_inputs_B)
        mask_BT = frame_mask(num_frames_B, hidden_BTD.shape[1])
        # Without autocast: a head in bfloat16 would give scores in steps of .002, for nothing.
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            pooled_BD = self.pooling(hidden_BTD.float(), mask_BT)
            return ModelOutput(scores=self.head(pooled_BD), embedding=pooled_BD)


def build_model(config: ModelConfig, seed: int) -> EmotionModel:
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
        model = EmotionModel(config)
        for part in (model.backbone, model.pooling, model.head):
            # For the transformers, their library has done that.
            if not isinstance(part, SpeechTransformer | WhisperEncoder):
                _initialise(part)
    return model


def layer_importance(model: EmotionModel) -> tuple[float, ...] | None:
    """Return the weights of a layer-weighted sum; None for a model that has none.

    Returns:
        Positive numbers that sum to 1: of what the first layer gets, then of each layer.
    """
    layer_sum = getattr(model.backbone, "layer_sum", None)
    return None if layer_sum is None else tuple(layer_sum.weights().tolist())


def _build_backbone(config: BackboneConfig) -> Backbone:
    if isinstance(config, Cnn14Config):
        return Cnn14(config)
    if isinstance(config, EgemapsConfig):
        return Egemaps(config)
    if isinstance(config, WhisperConfig):
        return WhisperEncoder(config)
    return SpeechTransformer(config)


def _build_head(config: ModelConfig, *, num_in: int) -> Head | SupportVectorHead:
    num_scores = len(config.targets)
    if isinstance(config.head, SupportVectorConfig):
        votes = config.task == "emotion"
        return SupportVectorHead(config.head, num_in=num_in, num_scores=num_scores, votes=votes)
    return Head(config.head, num_in=num_in, num_scores=num_scores)


def _initialise(part: nn.Module) -> None:
    """Give the weights PANNs' initial values: Xavier's, with zeros for the biases."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
