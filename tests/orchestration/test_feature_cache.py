import importlib.util
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestration import feature_cache
from orchestration.feature_cache import FILE_NAME, FeatureCache
from ser_model import storage
from ser_model.models.egemaps import Egemaps, EgemapsConfig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("opensmile") is None,
    reason="opensmile is not installed (pip install 'serval[egemaps]')",
)
CONFIG = EgemapsConfig()


def batch(*seeds: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [np.random.default_rng(seed).normal(0, 0.1, 4000) for seed in seeds]
    return torch.tensor(np.array(rows), dtype=torch.float32), torch.tensor([3000] * len(seeds))


def test_features_are_the_backbones_and_are_computed_once(folder: str) -> None:
    with FeatureCache(folder, CONFIG) as cache:
        features, num_frames = cache.prepare(*batch(1, 2, 1))
        assert cache.num_computed == 2
    expected, expected_frames = Egemaps(CONFIG).prepare(*batch(1, 2, 1))
    assert torch.equal(features, expected)
    assert torch.equal(num_frames, expected_frames)
    with FeatureCache(folder, CONFIG) as again:
        kept, _ = again.prepare(*batch(2, 3))
        assert again.num_computed == 1, "3 is new"
    assert torch.equal(kept, Egemaps(CONFIG).prepare(*batch(2, 3))[0])


def test_what_was_computed_before_a_failure_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), FeatureCache(str(tmp_path), CONFIG) as cache:
        cache.prepare(*batch(1))
        raise RuntimeError
    after = FeatureCache(str(tmp_path), CONFIG)
    after.prepare(*batch(1))
    assert after.num_computed == 0


def test_a_kill_costs_no_more_than_the_last_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "SAVE_EVERY", 2)
    FeatureCache(str(tmp_path), CONFIG).prepare(*batch(1, 2, 3))
    assert len(storage.read_table(str(tmp_path / FILE_NAME))) == 2


@pytest.mark.parametrize("fault", ["another openSMILE", "no Parquet", "another table"])
def test_a_file_that_does_not_serve_is_made_anew(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILE_NAME
    with FeatureCache(str(tmp_path), CONFIG) as cache:
        features, _ = cache.prepare(*batch(1))
    if fault == "no Parquet":
        path.write_bytes(b"PAR1 and no more")
    else:
        table = storage.read_table(str(path))
        metadata = dict(table.schema.metadata)
        if fault == "another openSMILE":
            metadata[b"opensmile"] = b"1.0"
        else:
            table = pa.table({"a": [1]})
        storage.write_table(str(path), table.replace_schema_metadata(metadata))
    with caplog.at_level(logging.WARNING), FeatureCache(str(tmp_path), CONFIG) as again:
        assert torch.equal(again.prepare(*batch(1))[0], features)
        assert again.num_computed == 1
    assert "made anew" in caplog.text
    assert len(storage.read_table(str(path))) == 1
