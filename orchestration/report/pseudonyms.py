"""Speakers under other names: who has the key can tell who is who, and nobody else.

A pseudonym is the beginning of HMAC-SHA256 (RFC 2104) of the speaker's name, so with the same key a
speaker has the same pseudonym in every report. All names are replaced before anything is arranged,
so that neither the page nor the order on it says who a speaker is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pyarrow as pa

from orchestration.gate_decision import Decision
from orchestration.report.audit_folder import AuditFolder, Statistic, in_order
from ser_model import storage
from ser_model.schema import ConfigError

Json = Any
"""What `json` reads."""

SPEAKER_COLUMN = "speaker_id"
MISSING = "(missing)"
"""Stands for speakers that have no name; see pipelines.transforms.tables."""

MIN_KEY_BYTES = 16
"""Shorter keys could be tried one by one."""
MAX_KEY_BYTES = 1 << 16

PREFIX = "speaker-"
MIN_LETTERS = 8
"""40 bits: among 10 thousand speakers two are alike in one audit of 20 thousand; then all have
more."""
MIN_LENGTH_IN_TEXT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pseudonyms:
    """The pseudonym of each speaker, and the key for names that turn up later."""

    key: bytes = field(repr=False)
    names: Mapping[str, str] = field(repr=False)

    def of(self, speaker_id: str) -> str:
        """Return the pseudonym of a speaker."""
        if speaker_id == MISSING:
            return speaker_id
        return self.names.get(speaker_id) or PREFIX + _letters(self.key, speaker_id)

    def in_slice(self, text: str) -> str:
        """Replace what stands behind each "speaker_id=" of a slice or a comparison of slices.

        The longest speaker's name that fits is meant; where none does, all that could be one.
        """
        mark = f"{SPEAKER_COLUMN}="
        parts = text.split(mark)
        return parts[0] + "".join(mark + self._at_beginning(part) for part in parts[1:])

    def _at_beginning(self, text: str) -> str:
        ends = [at for at, letter in enumerate(text) if letter in ",-"] + [len(text)]
        for end in reversed(ends):
            if text[:end] in self.names or text[:end] == MISSING:
                return self.of(text[:end]) + text[end:]
        return self.of(text)


def read_key(uri: str) -> bytes:
    """Read the key from a file; a line break at its end is no part of it.

    Raises:
        ConfigError: there is no such file, or the key is too short or too long. The message does
            not hold the key.
    """
    try:
        key = storage.read_bytes(uri, max_bytes=MAX_KEY_BYTES).rstrip(b"\r\n")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the key file {uri} cannot be read ({type(error).__name__}); "
            "make one with: openssl rand -hex 32 > KEY_FILE"
        ) from error
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"the key in {uri} has {len(key)} bytes, not {MIN_KEY_BYTES} or more; "
            "make one with: openssl rand -hex 32 > KEY_FILE"
        )
    return key


def make_pseudonyms(key: bytes, speakers: Iterable[str]) -> Pseudonyms:
    """Return pseudonyms of which no two are alike.

    Args:
        key: MIN_KEY_BYTES at least.
        speakers: their names.

    Example:
        >>> make_pseudonyms(b"0123456789abcdef", ["ann"]).of("ann")
        'speaker-7m4fsfna'
    """
    known = sorted({*speakers} - {MISSING})
    full = {name: _letters(key, name, None) for name in known}
    length = next(
        length
        for length in range(MIN_LETTERS, 53)
        if length == 52 or len({letters[:length] for letters in full.values()}) == len(full)
    )
    names = {name: PREFIX + letters[:length] for name, letters in full.items()}
    return Pseudonyms(key=key, names=names)


def pseudonymise(folder: AuditFolder, key: bytes) -> AuditFolder:
    """Return the same audit with pseudonyms in the place of speakers' names.

    They are replaced in the column `speaker_id`, in slices by it, and wherever a name stands as a
    word in audit.json or in what a gate notes. Names of digits alone, or of one or two characters,
    are not looked for there, where they would be taken for counts.
    """
    tables = {
        part.name: table
        for part in fields(folder)
        if isinstance(table := getattr(folder, part.name), pa.Table)
    }
    speakers = {
        name
        for table in tables.values()
        if SPEAKER_COLUMN in table.column_names
        for name in table.column(SPEAKER_COLUMN).unique().to_pylist()
        if name is not None
    }
    pseudonyms = make_pseudonyms(key, speakers)
    statistics = tuple(in_order(_statistic(row, pseudonyms) for row in folder.statistics))
    changed: dict[str, Any] = {name: _table(table, pseudonyms) for name, table in tables.items()}
    audit = _in_json(folder.audit, _pattern(speakers, folder.audit), pseudonyms)
    if folder.decision is not None:
        changed["decision"] = _decision(folder.decision, speakers, pseudonyms)
    return replace(folder, statistics=statistics, audit=audit, is_pseudonymised=True, **changed)


def _letters(key: bytes, name: str, length: int | None = MIN_LETTERS) -> str:
    digest = hmac.new(key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()[:length]


def _is_of_speakers(slice_by: str) -> bool:
    return SPEAKER_COLUMN in slice_by.split(",")


def _statistic(row: Statistic, pseudonyms: Pseudonyms) -> Statistic:
    if not _is_of_speakers(row.slice_by):
        return row
    return replace(row, slice=pseudonyms.in_slice(row.slice))


def _decision(decision: Decision, speakers: Iterable[str], pseudonyms: Pseudonyms) -> Decision:
    comparisons = (
        replace(one, slice=pseudonyms.in_slice(one.slice)) if _is_of_speakers(one.slice_by) else one
        for one in decision.comparisons
    )
    notes = [pseudonyms.in_slice(note) for note in decision.notes]
    return replace(
        decision,
        comparisons=tuple(comparisons),
        notes=tuple(_in_json(notes, _pattern(speakers, notes), pseudonyms)),
    )


def _table(table: pa.Table, pseudonyms: Pseudonyms) -> pa.Table:
    names = table.column_names
    if SPEAKER_COLUMN in names:
        found = table.column(SPEAKER_COLUMN).to_pylist()
        values = [None if name is None else pseudonyms.of(name) for name in found]
        at = names.index(SPEAKER_COLUMN)
        table = table.set_column(at, SPEAKER_COLUMN, pa.array(values, pa.string()))
    if {"slice_by", "slice"} <= set(names):
        pairs = zip(
            table.column("slice_by").to_pylist(), table.column("slice").to_pylist(), strict=True
        )
        slices = [pseudonyms.in_slice(of) if _is_of_speakers(by) else of for by, of in pairs]
        table = table.set_column(names.index("slice"), "slice", pa.array(slices, pa.string()))
    return table


def _pattern(speakers: Iterable[str], content: Json) -> re.Pattern[str] | None:
    """Match any speaker's name that stands in the content as a word; None where there is none."""
    text = "\0".join(_texts(content))
    wanted = [
        name
        for name in speakers
        if len(name) >= MIN_LENGTH_IN_TEXT and not name.isdigit() and name != MISSING
    ]
    present = sorted((name for name in wanted if name in text), key=lambda n: (-len(n), n))
    if not present:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, present))})(?!\w)")


def _texts(content: Json) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for name, part in content.items():
            yield name
            yield from _texts(part)
    elif isinstance(content, list):
        for part in content:
            yield from _texts(part)


def _in_json(content: Json, pattern: re.Pattern[str] | None, pseudonyms: Pseudonyms) -> Json:
    if pattern is None:
        return content
    if isinstance(content, str):
        return pattern.sub(lambda found: pseudonyms.of(found[0]), content)
    if isinstance(content, Mapping):
        return {
            _in_json(name, pattern, pseudonyms): _in_json(part, pattern, pseudonyms)
            for name, part in content.items()
        }
    if isinstance(content, list):
        return [_in_json(part, pattern, pseudonyms) for part in content]
    return content
