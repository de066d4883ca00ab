"""What a published number may be: the metrics of an audit, and the other outcomes of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

GivenBy: TypeAlias = Literal[
    "statistics", "speakers", "confusion", "training", "transcription", "table", "corpus"
]
"""Where our number comes from: a file of the audit (`statistics.parquet`, `speakers.parquet`,
`confusion.parquet`), `train.json` and its log, word error rates of transcripts, other numbers of
the same table, or the truth of the corpus alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMetric:
    """The kind of a published number.

    Attributes:
        given_by: where our number comes from.
        low: the least that it can be.
        high: the most that it can be.
    """

    given_by: GivenBy = "statistics"
    low: float = 0.0
    high: float = 1.0


_CORRELATION = PublishedMetric(low=-1.0)
_DIFFERENCE = PublishedMetric(low=-2.0, high=2.0)
_RESIDUAL = PublishedMetric(low=-1.0)
_SHARE = PublishedMetric()
_OF_CONFUSION = PublishedMetric(given_by="confusion")
_AMOUNT = PublishedMetric(given_by="training", high=math.inf)

METRICS: dict[str, PublishedMetric] = {
    "concordance_cc": _CORRELATION,
    "pearson_cc": _CORRELATION,
    "mean_squared_error": _SHARE,
    "unweighted_average_recall": _SHARE,
    "unweighted_average_precision": _SHARE,
    "unweighted_average_f1": _SHARE,
    "accuracy": _SHARE,
    "recall[]": _SHARE,
    "precision[]": _SHARE,
    "f1[]": _SHARE,
    "concordance_cc_difference": _DIFFERENCE,
    "concordance_cc_change": _DIFFERENCE,
    "gender_fairness_score": _DIFFERENCE,
    "speaker_agreement": PublishedMetric(given_by="speakers", low=-1.0),
    "concordance_cc_of_draws": PublishedMetric(given_by="speakers", low=-1.0),
    "residual_mean_by_segment": _RESIDUAL,
    "residual_p25": _RESIDUAL,
    "residual_p50": _RESIDUAL,
    "residual_p75": _RESIDUAL,
    "residual_slope": PublishedMetric(low=-math.inf, high=math.inf),
    "residual_intercept": PublishedMetric(low=-math.inf, high=math.inf),
    "neighbour_share[]": _SHARE,
    "neighbour_pearson_cc": _CORRELATION,
    # the whole of confusion.parquet, or a count: confusion[TRUTH,PREDICTION]
    "confusion": PublishedMetric(given_by="confusion", high=math.inf),
    "confusion[]": PublishedMetric(given_by="confusion", high=math.inf),
    # means of the emotions that are weighed by their segments; that of the recall is the accuracy
    "weighted_average_precision": _OF_CONFUSION,
    "weighted_average_recall": _OF_CONFUSION,
    "weighted_average_f1": _OF_CONFUSION,
    # 1 - value / the same in-domain; value / the same of `against`, - 1
    "concordance_cc_relative_drop": PublishedMetric(given_by="table", low=-math.inf),
    "concordance_cc_relative_difference": PublishedMetric(
        given_by="table", low=-math.inf, high=math.inf
    ),
    "confusion_relative_difference[]": PublishedMetric(given_by="table", low=-1.0, high=math.inf),
    # on dev, after each epoch: a curve
    "dev_concordance_cc": PublishedMetric(given_by="training", low=-1.0),
    "best_epoch": _AMOUNT,
    "best_step": _AMOUNT,
    # of each layer, a curve
    "layer_importance": PublishedMetric(given_by="training"),
    "training_s": _AMOUNT,
    "training_s_per_100_steps": _AMOUNT,
    "training_s_to_best": _AMOUNT,
    "model_size_gb": _AMOUNT,
    "num_parameters_m": _AMOUNT,
    "word_error_rate": PublishedMetric(given_by="transcription", high=math.inf),
    # of the raters' truth: counts of emotions, or the distribution of a dimension
    "truth_distribution": PublishedMetric(given_by="corpus", high=math.inf),
}
"""By name; "recall[]" stands for the recall of any emotion."""


def metric_of(name: str) -> PublishedMetric:
    """Return what is known of a metric.

    Raises:
        ValueError: there is no such metric.

    Example:
        >>> metric_of("recall[anger]").high
        1.0
    """
    stem, bracket, rest = name.partition("[")
    known = METRICS.get(f"{stem}[]" if bracket and rest.endswith("]") and rest[:-1] else name)
    if known is None or name.endswith("[]"):
        raise ValueError(f"metric {name!r} is not known; known are: {', '.join(METRICS)}")
    return known
