"""Take credentials, account ids and signed URLs out of text that is shown, logged or kept.

The forms of keys are from the IAM user guide, "IAM identifiers" and "Programmatic access with AWS
security credentials"; those of signed URLs and headers from "AWS Signature Version 4 for API
requests". Rather too much is taken out than too little.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Replace = str | Callable[[re.Match[str]], str]

_BETWEEN = r"""b?["']?\s*(?:=|:|%3[dDaA])\s*b?["']?"""
"""What stands between a name and its value: in JSON, in Python, in a shell, in a URL."""
_WORD = r"""[^\s"'&<>,;)}\]]+"""

_KEY_ID = re.compile(r"(?<![A-Za-z0-9])(?:A3T[A-Z0-9]|ABIA|ACCA|AGPA|AIDA|AIPA|AKIA|ANPA|ANVA|APKA"
                     r"|AROA|ASCA|ASIA)[A-Z0-9]{12,124}(?![A-Za-z0-9])")  # fmt: skip
_NAMED_SECRET = re.compile(
    r"(?i)((?:aws[_-]?)?(?:secret[_-]?(?:access[_-]?)?key|session[_-]?token|security[_-]?token"
    r"|secret[_-]?token|authorization[_-]?token|access[_-]?token|refresh[_-]?token|api[_-]?key"
    r"|client[_-]?secret|hf[_-]?token|password|passwd)"
    rf"{_BETWEEN})(?!\[)({_WORD})"
)
_SIGNED = re.compile(
    r"(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)"
    r"|AWSAccessKeyId|Key-Pair-Id|Signature|Credential)"
    rf"{_BETWEEN})(?!\[)({_WORD})"
)
_AUTHORIZATION = re.compile(
    r"""(?i)((?:proxy-)?authorization\b)(b?["']?\s*[:=]\s*+)(?!\[auth)(?:b?"[^"\n]*"|b?'[^'\n]*'|[^"'\n]+)"""
)
_SCHEME = re.compile(r"(?i)\b(Bearer|Basic|AWS4-HMAC-SHA256|AWS)\s+(?!\[)[A-Za-z0-9+/=_.:~-]{12,}")
_XML = re.compile(
    r"(?is)<(AWSAccessKeyId|AccessKeyId|SecretAccessKey|SessionToken|SignatureProvided|StringToSign"
    r"|StringToSignBytes|CanonicalRequest|CanonicalRequestBytes)>.*?</\1>"
)
_SECRET_KEY = re.compile(
    r"(?<![A-Za-z0-9/+=])(?=[A-Za-z0-9/+]*[a-z])(?=[A-Za-z0-9/+]*[A-Z])"
    r"(?!(?:[A-Z][a-z]+)+(?![A-Za-z0-9/+=]))[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
)
"""Not a name of that length in CamelCase, of which AWS has several."""
_LONG_TOKEN = re.compile(
    r"(?<![A-Za-z0-9/+=_-])(?:(?:FwoGZXIvYXdz|FQoGZXIvYXdz|IQoJb3JpZ2lu|AQoDYXdz)[A-Za-z0-9/+=_-]+"
    r"|(?=[A-Za-z0-9/+]{0,200}[a-z])(?=[A-Za-z0-9/+]{0,200}[A-Z])[A-Za-z0-9/+]{160,}=*"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)"
)
_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@")
_ACCOUNT = re.compile(r"(?<!\d)(?<!\d\.)(?:\d{12}|(?<!\d-)\d{4}-\d{4}-\d{4}(?!-\d))(?!\d)")

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_AUTHORIZATION, r"\1\2[authorization]"),
    (_SCHEME, r"\1 [authorization]"),
    (_XML, r"<\1>[secret]</\1>"),
    (_SIGNED, r"\1[signature]"),
    (_NAMED_SECRET, r"\1[secret]"),
    (_USER, r"\1[user]@"),
    (_KEY_ID, "[access key]"),
    (_LONG_TOKEN, "[token]"),
    (_SECRET_KEY, "[secret]"),
)


def redact(text: str) -> str:
    """The text without access keys, secret keys, tokens, account ids, signatures and passwords.

    In their place stands what they were, such as `[account]`. A second time changes nothing.
    """
    return _ACCOUNT.sub("[account]", without_secrets(text))


def has_secret(text: str) -> bool:
    """Whether the text has an access key, a token, a signature or a password in it.

    Account ids, which are no secrets, do not count.
    """
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """As `redact`, but account ids, which are no secrets, stay: a name may have twelve digits."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFilter(logging.Filter):
    """Redacts what a logging handler writes: message, traceback and stack.

    Add it to handlers, not to loggers: a logger's filters do not see the records of those below it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always let through."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments do not fit; the handler would say so
            message = str(record.msg)
        record.msg, record.args = redact(message), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        elif record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
