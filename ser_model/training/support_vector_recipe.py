"""The fields of a recipe for a support vector machine: what there is beside gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ser_model.models.base import Task
from ser_model.models.support_vectors import KernelName
from ser_model.training.settings import DataConfig


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
            as it needs all of a speaker's segments.
        refit_with_dev: keep a machine of train and dev together; what is said of dev comes from
            one of train alone.
        data: which segments are seen.
        seed: of a network's weights; a machine has nothing random, so it is 0.
        num_seeds: likewise 1.
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
    refit_with_dev: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    num_seeds: int = 1

    # What is asked of any recipe: here it is no choice.
    num_epochs: ClassVar[int] = 1
    batch_size: ClassVar[int] = 256
    dtype: ClassVar[Literal["float32"]] = "float32"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if not self.c > 0.0:
            raise ValueError(f"c {self.c} is not positive")
        if not self.epsilon >= 0.0:
            raise ValueError(f"epsilon {self.epsilon} is negative")
        if (self.seed, self.num_seeds) != (0, 1):
            raise ValueError(
                "seed, num_seeds: a machine has nothing random; data.seed makes other splits"
            )
        if self.speaker_normalisation and self.data.fold_by != "speaker_id":
            raise ValueError(
                "speaker_normalisation needs all segments of a speaker, which a model that scores "
                "segments one by one does not have: it is there for cross-validation alone, for "
                "example with data.fold_by=speaker_id data.num_folds=8"
            )

    @property
    def model_task(self) -> Task:
        """What the model is for."""
        return self.task

    @property
    def dev_metric(self) -> str:
        """What is shown of dev."""
        return "unweighted_average_recall" if self.task == "emotion" else "concordance_cc"
