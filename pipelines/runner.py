"""Where a pipeline runs when the user names no runner."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from ser_model.schema import ConfigError


def pipeline_options(beam_options: Sequence[str]) -> PipelineOptions:
    """Return the options of a pipeline; without a runner among them it runs in this process.

    Beam's own default first tries the Prism runner, which it would download.

    >>> pipeline_options([]).get_all_options()["runner"]
    'FnApiRunner'
    """
    named = any(option == "--runner" or option.startswith("--runner=") for option in beam_options)
    defaults = [] if named else ["--runner=FnApiRunner"]
    return PipelineOptions([*defaults, *beam_options])


def open_pipeline(beam_options: Sequence[str]) -> beam.Pipeline:
    """Return a pipeline with these options.

    Raises:
        ConfigError: Beam does not know the runner.
    """
    try:
        return beam.Pipeline(options=pipeline_options(beam_options))
    except ValueError as error:
        raise ConfigError(f"Beam options {' '.join(beam_options)}: {error}") from error
