"""Who is told of a night: a webhook, and a file for a CI system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ser_model import storage

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """Who is told of a night, and of which nights.

    Attributes:
        webhook_variable: name of the environment variable that holds the webhook's URL, which is a
            secret; None where no webhook is told.
        when: "bad" for nights that refuse the candidate, raise an alarm or cannot finish; "always".
        junit: JUnit file of a night, in the night's folder unless it is absolute; None for none.
    """

    webhook_variable: str | None = None
    when: Literal["always", "bad"] = "bad"
    junit: str | None = "junit.xml"

    def __post_init__(self) -> None:
        """Refuse what cannot be used, without repeating what may be a secret."""
        if self.webhook_variable is not None and not _VARIABLE.fullmatch(self.webhook_variable):
            raise ValueError(
                "webhook_variable is not the name of an environment variable, such as "
                "SERVAL_WEBHOOK; the URL itself is a secret and stays out of files"
            )
        if self.junit is not None and (not self.junit or ".." in self.junit.split("/")):
            raise ValueError(
                f"junit is {self.junit!r}; allowed are names in the night's folder, "
                "absolute paths and URIs"
            )

    def wants(self, *, is_bad: bool) -> bool:
        """Tell whether the webhook is told of a night.

        >>> NotifyConfig(webhook_variable="SERVAL_WEBHOOK").wants(is_bad=False)
        False
        """
        return self.webhook_variable is not None and (is_bad or self.when == "always")

    def junit_uri(self, night_folder: str) -> str | None:
        """Return where the JUnit file of a night goes; None where none is wanted."""
        return None if self.junit is None else storage.resolve(self.junit, night_folder)
