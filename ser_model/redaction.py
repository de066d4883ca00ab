"""What a URI hides stays hidden: passwords and signatures never reach a log line or a message."""

from __future__ import annotations

import re

# Whatever stands before the @ of an authority (but Azure's abfs://container@account is no secret),
# and the parameters by which stores sign URLs.
_USER_INFO = re.compile(
    r"(?P<scheme>\b(?!abfss?:|wasbs?:)[a-z][a-z0-9+.-]*://)[^/\s'\"]*@", re.IGNORECASE
)
_SIGNATURE = re.compile(
    r"(?P<name>[?&](?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)"
    r"|AWSAccessKeyId|Signature|sig|token|password|secret)=)[^&\s'\"]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return a text without the secrets that its URIs hold.

    >>> redact("cannot read s3://anna:secret@store/bucket/a.flac")
    'cannot read s3://***@store/bucket/a.flac'
    >>> redact("https://store/a.flac?sig=abc&part=1, models:/demo@champion")
    'https://store/a.flac?sig=***&part=1, models:/demo@champion'
    """
    return _SIGNATURE.sub(r"\g<name>***", _USER_INFO.sub(r"\g<scheme>***@", text))
