"""The groups of a recipe's fields: optimiser, schedule, loss, selection and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ser_model.schema import DIMENSIONS

SplitPolicy: TypeAlias = Literal["speaker-disjoint", "random-80-20", "as-given"]
DimensionLoss: TypeAlias = Literal["concordance_cc", "mean_squared_error"]
EmotionLoss: TypeAlias = Literal["weighted_cross_entropy", "cross_entropy"]
DevMetric: TypeAlias = Literal[
    "concordance_cc",
    "concordance_cc_arousal",
    "concordance_cc_dominance",
    "concordance_cc_valence",
    "unweighted_average_recall",
    "accuracy",
    "loss",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """How the weights follow the gradient.

    Attributes:
        kind: adam (decay added to the gradient), adamw (decay apart from it) or sgd.
        learning_rate: the highest rate; the schedule lowers it.
        weight_decay: 0 for none.
        eps: added to the denominator of adam and adamw.
        bias_correction: whether the means of adam and adamw are corrected for beginning with
            zeros; BERT's original optimiser did not.
        momentum: of sgd, Nesterov's.
        max_grad_norm: longer gradients are shortened to it; null for none.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float
    weight_decay: float = 0.01
    eps: float = 1e-8
    bias_correction: bool = True
    momentum: float = 0.9
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate {self.learning_rate} is not positive")
        if not self.weight_decay >= 0.0:
            raise ValueError(f"weight_decay {self.weight_decay} is negative")
        if not self.eps > 0.0:
            raise ValueError(f"eps {self.eps} is not positive")
        if not 0.0 < self.momentum < 1.0:
            raise ValueError(f"momentum {self.momentum} is not in (0, 1)")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0.0:
            raise ValueError(f"max_grad_norm {self.max_grad_norm} is not positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate changes from step to step.

    Attributes:
        kind: none (the rate stays), linear or cosine (it falls to 0 after the warm-up).
        warmup: part of the schedule's steps over which the rate rises from 0.
        num_steps: steps of the schedule, after which the rate stays what it is; null for all steps
            of the training.
    """

    kind: Literal["none", "linear", "cosine"] = "none"
    warmup: float = 0.0
    num_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        if not 0.0 <= self.warmup < 1.0:
            raise ValueError(f"warmup {self.warmup} is not in [0, 1)")
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(f"num_steps {self.num_steps} is not positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What training minimises, by task.

    Attributes:
        dimensions: of all dimensions together: concordance_cc (1 - CCC) or mean_squared_error.
        one_dimension: of the tasks arousal, dominance, valence, which learn one alone.
        emotion: cross-entropy, weighted by inverse frequency or plain.
        arousal: weight among the dimensions (alpha); weights are divided by their sum.
        dominance: weight (beta).
        valence: weight (gamma).
    """

    dimensions: DimensionLoss = "concordance_cc"
    one_dimension: DimensionLoss = "concordance_cc"
    emotion: EmotionLoss = "weighted_cross_entropy"
    arousal: float = 1.0
    dominance: float = 1.0
    valence: float = 1.0

    def __post_init__(self) -> None:
        """Refuse weights that weigh nothing."""
        weights = (self.arousal, self.dominance, self.valence)
        if not (min(weights) >= 0.0 and 0.0 < sum(weights) < float("inf")):
            raise ValueError(f"weights {weights} of {', '.join(DIMENSIONS)} must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionConfig:
    """Which weights of a training are kept: those that were best on the whole of dev.

    Attributes:
        metric: what is compared; concordance_cc is the mean over the dimensions. null: the mean
            CCC, the one dimension's CCC or the UAR, as the task is.
        every_steps: steps between two looks at dev; null for one after each epoch.
        patience: looks without a better value after which training stops; null for never.
    """

    metric: DevMetric | None = None
    every_steps: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Refuse what never looks."""
        if self.every_steps is not None and self.every_steps < 1:
            raise ValueError(f"every_steps {self.every_steps} is not positive")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience {self.patience} is not positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which segments a training sees.

    Attributes:
        split: speaker-disjoint (the manifest's column `split`, or one made of its speakers),
            as-given (that column, even where speakers are in several splits) or random-80-20 (a
            random fifth of the segments is dev and test in one, and shares its speakers with
            train: Gavali's protocol).
        fraction: part of the train split that is used; a smaller part is contained in a larger.
        seed: decides splits, fractions and folds, apart from the seed of the weights.
        fold_by: column whose values are held out in turn (speaker_id, session); null for no
            cross-validation.
        num_folds: groups of these values; null for a fold of each value (leave one out).
        dev_within: column; dev of a fold are the other rows that share its test rows' value there
            (for IEMOCAP, session: the interlocutor). null: dev is the next fold.
        predict_test: whether the kept weights also predict the split test, into test.parquet;
            folds always do.
    """

    split: SplitPolicy = "speaker-disjoint"
    fraction: float = 1.0
    seed: int = 0
    fold_by: str | None = None
    num_folds: int | None = None
    dev_within: str | None = None
    predict_test: bool = False

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to train on or to test with."""
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"fraction {self.fraction} is not in (0, 1]")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")
        if self.num_folds is not None and self.num_folds < 3:
            raise ValueError(f"num_folds {self.num_folds}: train, dev and test need 3 or more")
        if self.fold_by is None and (self.num_folds or self.dev_within):
            raise ValueError("num_folds and dev_within need fold_by, the column to fold by")
