"""What the options come to; doctests show the ranges of workers that are allowed."""

import pytest

from orchestration.hardware import WorkerRange, choose_hardware
from ser_model.schema import ConfigError


@pytest.mark.parametrize(
    "option", [0, -1, "0", "8:2", "0:4", "4:", ":4", "2:4:6", "two", "2.5", ""]
)
def test_ranges_of_workers_that_make_no_sense_are_refused(option: int | str) -> None:
    with pytest.raises(ConfigError, match="--workers"):
        choose_hardware("cpu", option, "auto", local=False)


def test_a_range_is_kept_and_cut_to_the_work_there_is() -> None:
    hardware = choose_hardware("cpu", "2:8", "auto", local=False)
    assert hardware.workers == WorkerRange(minimum=2, maximum=8)
    assert hardware.num_workers == 8
    assert hardware.workers.at_most(4) == WorkerRange(minimum=2, maximum=4)
    assert hardware.workers.at_most(1) == WorkerRange(minimum=1, maximum=1)


def test_scoring_in_this_process_has_no_workers() -> None:
    hardware = choose_hardware("cpu", "2:8", "float32", local=True)
    assert (hardware.workers, hardware.num_workers) == (None, 0)


def test_a_gpu_scores_in_bfloat16_unless_the_model_is_an_onnx_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert choose_hardware("auto", None, "auto", local=False).dtype == "bfloat16"
    onnx = choose_hardware("auto", None, "auto", local=False, float32_only=True)
    assert (onnx.device, onnx.dtype) == ("cuda", "float32")
    with pytest.raises(ConfigError, match="float32 alone"):
        choose_hardware("auto", None, "bfloat16", local=False, float32_only=True)
