"""What a configuration may say of drift."""

import pytest

from orchestration.nights.drift_config import DriftConfig
from ser_model.models.configuration import build


def test_a_threshold_may_be_null() -> None:
    config = build(DriftConfig, {"nights": 3, "new_speakers": 0.5, "new_languages": None})
    assert (config.nights, config.new_speakers, config.new_languages) == (3, 0.5, None)
    assert config.population_stability_index == 0.2


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("nights", 0, "1 and more"),
        ("jensen_shannon_divergence", 1.1, "0 to 1, or null"),
        ("population_stability_index", -0.1, "0 and more, or null"),
        ("population_stability_index", float("inf"), "0 and more, or null"),
        ("rejected_share", float("nan"), "0 to 1, or null"),
        ("new_speakers", 5.0, "0 to 1, or null"),
        ("new_languages", -1, "0 and more, or null"),
        ("missing_metadata", -0.5, "0 to 1, or null"),
    ],
)
def test_what_is_out_of_range_is_refused(field: str, value: float, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is {value}; allowed are {allowed}$"):
        build(DriftConfig, {field: value})
