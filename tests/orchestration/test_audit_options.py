"""Options that are refused with a clear word."""

import pytest

from orchestration.audit_options import parse_systems
from ser_model.schema import ConfigError


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["cnn14"], "'cnn14' is not NAME=VERSION,VERSION"),
        (["=1,2"], "is not NAME=VERSION,VERSION"),
        (["cnn14=1,"], "is not NAME=VERSION,VERSION"),
        (["cnn14=1"], "cnn14 has one run, 1; a test over runs needs 2"),
        (["cnn14=1,2", "cnn14=3,4"], "cnn14 stands there twice"),
        (["cnn14=1,2", "bert=3,2"], "--system bert: .* '2' belongs to cnn14 already"),
        (["cnn14=1,1"], "--system cnn14: .* '1' belongs to cnn14 already"),
    ],
)
def test_systems_that_are_none(texts, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_systems(texts)
