"""How log lines look: text for people, or one JSON object a line for machines; never a secret.

A line tells what it is about by fields, which the caller gives with `extra`:

    logger.warning("failed, trying again", extra={"shard": 17, "attempt": "3f9c"})

Text shows the message alone; JSON shows the fields too.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ser_model.redaction import redact

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

FIELDS = ("run", "shard", "condition", "attempt", "model_version")
"""What a line may be about."""

OWN_PACKAGES = ("orchestration", "pipelines", "ser_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How a process logs; small, so that workers can be sent the one of their driver.

    Attributes:
        format: "text" or "json".
        level: "debug", "info", "warning" or "error", for Serval's own lines; other libraries speak
            from "warning" on.
        fields: fields of every line of the process, such as the run that a worker works for.
    """

    format: str = "text"
    level: str = "info"
    fields: Mapping[str, str] = field(default_factory=dict)


def configure_logging(config: LogConfig) -> None:
    """Send this process's log lines to stderr in a format, unless somebody else handles them.

    A second call changes the format of the first.

    Raises:
        ValueError: an unknown format or level.
    """
    if config.format not in FORMATS or config.level not in LEVELS:
        raise ValueError(f"log format {config.format!r} or level {config.level!r} is unknown")
    level = config.level.upper()
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, _Handler):
            root.removeHandler(handler)
    if not root.handlers:  # a host program, such as a test runner, has its own way
        root.addHandler(_Handler(config))
        root.setLevel(max(level, "WARNING", key=logging.getLevelNamesMapping().__getitem__))
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(level)


def current_config() -> LogConfig:
    """Return how this process logs; the default where a host program handles its lines."""
    ours = [h.config for h in logging.getLogger().handlers if isinstance(h, _Handler)]
    return ours[0] if ours else LogConfig()


class TextFormatter(logging.Formatter):
    """The message, redacted."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback behind it where there is one."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, and the fields that the line has."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Give every line these `fields`; its own take precedence."""
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
            **{name: record.__dict__[name] for name in FIELDS if name in record.__dict__},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        shown = {k: redact(v) if isinstance(v, str) else v for k, v in line.items()}
        return json.dumps(shown, ensure_ascii=False, default=lambda value: redact(str(value)))


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stub alone
    """Ours, so that a second call finds it."""

    def __init__(self, config: LogConfig) -> None:
        super().__init__(sys.stderr)
        self.config = config
        json_lines = config.format == "json"
        self.setFormatter(JsonFormatter(config.fields) if json_lines else TextFormatter())
        # Only libraries log as "root", such as Beam about clients of clouds that nobody asked for.
        self.addFilter(lambda record: record.name != "root" or record.levelno >= logging.ERROR)
