"""Imports run one way, and what is light stays light.

import-linter reads the source; these tests look at what a fresh interpreter has really loaded: a
re-export in an ``__init__`` can load torch into a Beam worker without breaking any contract.
"""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "ray", "apache_beam", "mlflow", "matplotlib", "soundfile")


def loaded_by(code: str) -> set[str]:
    """Top-level modules among HEAVY that a fresh interpreter holds after running `code`."""
    script = f"import sys\n{code}\nprint('loaded:', *(m for m in {HEAVY} if m in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    last_line = result.stdout.splitlines()[-1]
    return set(last_line.removeprefix("loaded:").split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        (
            "import ser_model.schema, ser_model.metrics, ser_model.storage, ser_model.manifest",
            set(),
        ),
        ("import pipelines.audit", {"apache_beam"}),
        ("import pipelines.pack", {"apache_beam", "soundfile"}),
        ("import ser_model.predict", {"torch", "transformers"}),
        ("import orchestration.cli; orchestration.cli.build_parser()", set()),
    ],
)
def test_nothing_heavier_is_loaded_than_is_allowed(code: str, allowed: set[str]) -> None:
    assert loaded_by(code) <= allowed


def test_the_scoring_core_needs_torch_transformers_numpy_and_pyarrow_alone() -> None:
    absent = ("ray", "apache_beam", "mlflow", "soundfile", "soxr", "matplotlib", "jinja2", "tqdm")
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in absent)
    assert "torch" in loaded_by(f"{blocked}; import ser_model.predict, ser_model.models.storage")


def test_a_heavy_import_is_noticed() -> None:
    assert loaded_by("import soundfile") == {"soundfile"}
