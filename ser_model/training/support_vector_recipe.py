"""The fields of a recipe for a support vector machine: what there is beside gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ser_model.models.base import Task
from ser_model.models.support_vectors import KernelName


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportVectorRecipe:
    """How a support vector machine is made of the functionals of segments.

    Nothing is selected on dev: kernel and C are what the recipe says.

    Attributes:
        kind: of the recipe.
        description: one line for `serval train --list`.
        task: dimensions (a regression each) or emotion (a category); `--target` overrides it.
        feature_set: openSMILE's name of the functionals.
        kernel: linear or rbf, the latter with gamma = 1 / (features * their variance), which is
            1 / 88 of standardised features.
        c: how much an error costs, against a smooth decision.
        class_weight: balanced (errors cost inversely to a category's frequency), or null.
        epsilon: errors of a regression up to this cost nothing; on the scale of 0 to 1.
        speaker_normalisation: standardise within each speaker first; for cross-validation alone,
            as it needs a speaker's other segments.
        num_folds: groups of speakers that are held out in turn; null trains one model instead.
        seed: decides splits and folds; the machine itself is not random.
    """

    kind: Literal["support_vectors"] = "support_vectors"
    description: str
    task: Task = "emotion"
    feature_set: Literal["eGeMAPSv02"] = "eGeMAPSv02"
    kernel: KernelName = "rbf"
    c: float = 1.0
    class_weight: Literal["balanced"] | None = "balanced"
    epsilon: float = 0.1
    speaker_normalisation: bool = False
    num_folds: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if not self.c > 0.0:
            raise ValueError(f"c {self.c} is not positive")
        if not self.epsilon >= 0.0:
            raise ValueError(f"epsilon {self.epsilon} is negative")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")
        if self.num_folds is not None and self.num_folds < 2:
            raise ValueError(f"num_folds {self.num_folds} is below 2")
        if self.speaker_normalisation and self.num_folds is None:
            raise ValueError(
                "speaker_normalisation needs all segments of a speaker, which a model that scores "
                "segments one by one does not have: it is there for cross-validation alone, for "
                "example with num_folds=8"
            )
