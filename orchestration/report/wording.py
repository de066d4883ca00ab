"""How numbers and metrics are written, the same everywhere in a report."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ser_model.schema import DIMENSIONS

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TARGETS = (*DIMENSIONS, "emotion")
HEADLINE_METRICS = ("concordance_cc", "unweighted_average_recall", "accuracy")
"""The metrics that a verdict rests on, the preferred one first: CCC of a dimension; of an emotion
UAR, or accuracy for speakers where no UAR stands."""

CROSS_CORPUS_METRIC = "pearson_cc"
"""What comes first where the truth is of another corpus than the models were trained on."""

DRAWS_METRIC = "concordance_cc_of_draws"
"""The figure of Wagner et al. 2023 on speakers, where the audit has it."""

MAX_NAME_LENGTH = 64

_LABELS = {
    "concordance_cc": "CCC",
    "concordance_cc_of_draws": "CCC of 1000 draws of 200",
    "pearson_cc": "PCC",
    "mean_squared_error": "MSE",
    "mean_absolute_error": "MAE",
    "bias": "bias",
    "jensen_shannon_distance": "JSD",
    "unweighted_average_recall": "UAR",
    "unweighted_average_precision": "UAP",
    "unweighted_average_f1": "macro F1",
    "accuracy": "accuracy",
    "f1": "F1",
}
_LOWER_IS_BETTER = frozenset(
    {"mean_squared_error", "mean_absolute_error", "jensen_shannon_distance"}
)
_NEITHER_IS_BETTER = frozenset({"bias"})


def number(value: float | None) -> str:
    """Write a number with three decimals and no leading zero, as the field does.

    >>> number(0.7449), number(1.0), number(-0.0001), number(None) == DASH
    ('.745', '1.000', '.000', True)
    >>> number(-0.031) == MINUS + ".031"
    True
    """
    if value is None:
        return DASH
    text = f"{abs(value):.3f}"
    digits = text.removeprefix("0")
    is_negative = value < 0 and float(text) != 0
    return f"{MINUS}{digits}" if is_negative else digits


def interval(low: float | None, high: float | None) -> str:
    """Write an interval.

    >>> interval(0.02, 0.4), interval(None, 0.4) == DASH
    ('.020 to .400', True)
    """
    return DASH if low is None or high is None else f"{number(low)} to {number(high)}"


def probability(value: float | None) -> str:
    """Write a p value; below .001 only that it is.

    >>> probability(0.0004), probability(0.0421)
    ('< .001', '.042')
    """
    return "< .001" if value is not None and value < 0.001 else number(value)


def count(value: int | None) -> str:
    """Write a count with separated thousands.

    >>> count(12345), count(None) == DASH
    ('12,345', True)
    """
    return DASH if value is None else f"{value:,}"


def tick(value: float) -> str:
    """Write a number on an axis: no more decimals than it has.

    >>> tick(0.0), tick(1.0), tick(0.25), tick(-0.2) == MINUS + ".2"
    ('0', '1', '.25', True)
    """
    text = f"{abs(value):.6f}".rstrip("0").rstrip(".")
    digits = text.removeprefix("0") or "0"
    return f"{MINUS}{digits}" if value < 0 else digits


def name(text: str) -> str:
    """Write a name from the data: in one line, of a length that fits, and harmless to its sentence.

    >>> name("accent=scottish"), len(name("x" * 1000))
    ('accent=scottish', 64)
    """
    shown = plain(text[:MAX_NAME_LENGTH])
    text = shown if len(text) <= MAX_NAME_LENGTH else f"{shown[:-1]}…"
    is_from_right = not text.isascii() and any(
        unicodedata.bidirectional(character) in {"R", "AL"} for character in text
    )
    return f"{_ISOLATE}{text}{_END_OF_ISOLATE}" if is_from_right else text


def plain(text: str) -> str:
    r"""Write text from the data without what cannot be seen but changes how the rest is shown.

    Line breaks become spaces; other control characters, and those that turn the direction of
    writing, become a mark.

    >>> plain("two\nlines"), plain("\u202eesrever") == "\N{REPLACEMENT CHARACTER}esrever"
    ('two lines', True)
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(character) for character in text)


def _seen(character: str) -> str:
    if character in _JOINERS:
        return character
    if character in "\t\n\r\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        return " "
    is_unseen = unicodedata.category(character) in {"Cc", "Cf", "Cs"}
    return "\N{REPLACEMENT CHARACTER}" if is_unseen else character


_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Some scripts are spelt with them."""

_ISOLATE = "\N{FIRST STRONG ISOLATE}"
_END_OF_ISOLATE = "\N{POP DIRECTIONAL ISOLATE}"


def sentence_case(text: str) -> str:
    """Write a word or phrase as the beginning of a sentence.

    >>> sentence_case("not judged"), sentence_case("")
    ('Not judged', '')
    """
    return text[:1].upper() + text[1:]


def title(model: str, condition: str) -> str:
    """Write a model (its version, file or URI) and a condition as a heading.

    >>> title("3", "clean"), title("models:/demo/3", "clean")
    ('Model 3, clean', 'models:/demo/3, clean')
    """
    return f"{model_title(model)}, {name(condition)}"


def model_title(model: str) -> str:
    """Write a model (its version, file or URI) as a heading.

    >>> model_title("3"), model_title("models:/demo/3")
    ('Model 3', 'models:/demo/3')
    """
    prefix = "" if ":" in model else "Model "
    return f"{prefix}{name(model)}"


def value_of(slice_name: str, slice_by: str) -> str:
    """Write a slice under a heading that already names its column.

    >>> value_of("accent=scottish", "accent"), value_of("sex=male,age=30", "sex,age")
    ('scottish', 'sex=male,age=30')
    """
    return name(slice_name.removeprefix(f"{slice_by}="))


def metric_label(metric: str) -> str:
    """Write a metric's name as reports do.

    >>> metric_label("concordance_cc"), metric_label("concordance_cc_gap")
    ('CCC', 'CCC')
    >>> metric_label("f1[anger]"), metric_label("recall[.00-.25]"), metric_label("spread_of_truth")
    ('F1 of anger', 'recall of .00-.25', 'spread of truth')
    """
    metric = base_metric(metric)
    kind, bracket, emotion = metric.partition("[")
    if bracket:
        return f"{_LABELS.get(kind, kind)} of {name(emotion.removesuffix(']'))}"
    return _LABELS.get(metric, metric.replace("_", " "))


def base_metric(metric: str) -> str:
    """Return the metric that a gap compares.

    >>> base_metric("concordance_cc_gap"), base_metric("recall_gap[anger]"), base_metric("bias")
    ('concordance_cc', 'recall[anger]', 'bias')
    """
    kind, bracket, emotion = metric.partition("[")
    emotion = emotion.removesuffix("_gap")
    return kind.removesuffix("_gap") + bracket + emotion


def is_gap(metric: str) -> bool:
    """Tell whether a metric compares two groups.

    >>> is_gap("bias_gap"), is_gap("recall[joy]_gap"), is_gap("recall_gap[joy]"), is_gap("bias")
    (True, True, True, False)
    """
    return metric.endswith("_gap") or metric.partition("[")[0].endswith("_gap")


def better_sign(metric: str) -> int:
    """Return 1 where more is better, -1 where less is, 0 where neither (a bias).

    >>> better_sign("concordance_cc"), better_sign("mean_absolute_error_gap"), better_sign("bias")
    (1, -1, 0)
    """
    base = base_metric(metric)
    if base in _NEITHER_IS_BETTER:
        return 0
    return -1 if base in _LOWER_IS_BETTER else 1


def enumerate_words(words: Sequence[str], *, last: str = "and") -> str:
    """Write a list as a sentence does.

    >>> enumerate_words(["arousal"]), enumerate_words(["arousal", "dominance", "valence"])
    ('arousal', 'arousal, dominance and valence')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
