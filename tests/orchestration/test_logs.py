"""Log lines: one JSON object each, with what they are about, and without secrets."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orchestration.cli import build_parser
from orchestration.logs import JsonFormatter, LogConfig, TextFormatter, configure_logging
from ser_model.redaction import redact


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("orchestration.dispatch", logging.WARNING, "", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_json_line_says_when_who_what_and_what_about() -> None:
    shard = {"run": "s3://runs/a", "shard": 17, "condition": "clean", "attempt": "3f9c"}
    line = JsonFormatter({}).format(record("failed by %s", "its death", **shard, model_version="2"))
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "orchestration.dispatch",
        "message": "failed by its death",
        **shard,
        "model_version": "2",
    }


def test_a_line_without_fields_has_those_of_its_process_alone() -> None:
    found = json.loads(JsonFormatter({"run": "r"}).format(record("starting")))
    assert set(found) == {"time", "level", "logger", "message", "run"}


def test_a_line_of_several_lines_stays_one() -> None:
    try:
        raise OSError("s3://anna:secret@store is down")
    except OSError:
        made = record("two\nlines")
        made.exc_info = sys.exc_info()
    line = JsonFormatter({}).format(made)
    assert "\n" not in line
    assert "OSError" in json.loads(line)["exception"]
    assert "secret" not in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter({})])
def test_no_format_prints_a_password(formatter: logging.Formatter) -> None:
    made = record("cannot reach %s", "https://anna:se:cr@et@mlflow.example/x", run="s3://k:se@b/r")
    line = formatter.format(made)
    assert "se:cr" not in line
    assert "et@" not in line
    assert "k:se" not in line
    assert "https://***@mlflow.example/x" in line


@pytest.mark.parametrize(
    "text",
    [
        "models:/demo@champion",
        "s3://bucket/a@b.flac",
        "write to a@b.example",
        "s3://bucket/x?a=1",
        "abfs://box@account/a",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("config", [LogConfig(format="xml"), LogConfig(level="loud")])
def test_an_unknown_word_is_refused(config: LogConfig) -> None:
    with pytest.raises(ValueError, match="unknown"):
        configure_logging(config)


@pytest.fixture
def own_levels() -> Iterator[None]:
    yield
    logging.getLogger("orchestration").setLevel(logging.NOTSET)


def test_the_handlers_of_a_host_program_are_left_alone(own_levels: None) -> None:
    before = list(logging.getLogger().handlers)
    configure_logging(LogConfig(format="json", level="error"))
    assert logging.getLogger().handlers == before
    assert logging.getLogger("orchestration").level == logging.ERROR


@pytest.mark.parametrize(
    "words",
    [["--log-format", "json", "models", "list"], ["models", "--log-format", "json", "list"]],
)
def test_the_options_stand_before_or_behind_the_command(words: list[str]) -> None:
    args = build_parser().parse_args(words)
    assert (args.log_format, args.log_level) == ("json", "info")


def test_what_ends_a_command_is_a_json_line_too() -> None:
    command = [sys.executable, "-m", "orchestration.cli", "--log-format", "json", "export"]
    ended = subprocess.run(
        [*command, "no-run", "out.csv"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert json.loads(line)["level"] == "error"


def log_in_a_process(code: str) -> list[str]:
    script = f"import logging\nfrom orchestration.logs import *\n{code}"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_a_process_logs_in_the_last_format_that_it_was_told() -> None:
    lines = log_in_a_process(
        "configure_logging(LogConfig())\n"
        "configure_logging(LogConfig(format='json', level='debug', fields={'run': 'r'}))\n"
        "logging.getLogger('orchestration.x').debug('one')\n"
        "logging.getLogger('another').info('not shown')\n"
        "logging.getLogger('another').warning('two')\n"
        "logging.getLogger().warning('not shown')\n"
        "assert current_config().level == 'debug'"
    )
    found = [json.loads(line) for line in lines]
    assert [(f["message"], f["run"]) for f in found] == [("one", "r"), ("two", "r")]
