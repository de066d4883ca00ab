"""Links out of a page: to files beside it, to files on this machine, to web pages; to nothing else.

A page cannot link to an object store, and must not link to what a browser would run. Such a target
stands there as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from ser_model.redaction import redact

_WEB = re.compile(r"https?://[^\s\x00-\x1f\x7f\\\"'<>]+", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What is linked to.

    Attributes:
        name: of the link.
        target: where it leads, for people.
        href: likewise for a browser; None where a page cannot lead there.
    """

    name: str
    target: str
    href: str | None


def link(name: str, target: str) -> Link:
    """Return a link to a URL or path; passwords and signatures are not shown.

    >>> link("model", "http://mlflow/#/models/ser").href, link("decision", "gate 1.json").href
    ('http://mlflow/#/models/ser', 'gate%201.json')
    >>> link("bad", "javascript:alert(1)").href is None, link("a", "s3://bucket/a").href is None
    (True, True)
    """
    return Link(name=name, target=redact(target), href=_href(target))


def _href(target: str) -> str | None:
    if redact(target) != target:
        return None
    if _WEB.fullmatch(target):
        return target
    path = target.removeprefix("file://")
    if path.startswith("//"):  # would be another machine
        return None
    if path.startswith("/"):
        return "file://" + quote(path, errors="replace")
    return None if not path or _SCHEME.match(target) else quote(target, errors="replace")
