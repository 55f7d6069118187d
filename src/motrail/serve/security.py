"""The token that requests have to carry."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from motrail.errors import ConfigError
from motrail.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "MOTRAIL_SERVE_TOKEN"


def find_token(path: Path | None, environ: Mapping[str, str] | None = None) -> str | None:
    """The token of a file, else of the environment; None where there is none.

    Raises:
        ConfigError: The file cannot be read, or the token is no visible ASCII text.
    """
    if path is not None:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        origin = str(path)
    else:
        found = (os.environ if environ is None else environ).get(VARIABLE)
        if found is None:
            return None
        token, origin = found.strip(), VARIABLE
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{origin}: expected a token of visible ASCII characters")
    return token


def check_token(header: str | None, token: str) -> None:
    """See that a request may come in; takes the same time however much of the token is right.

    Raises:
        Problem: 401.
    """
    scheme, _, given = (header or "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    if scheme.lower() != "bearer" or not right:
        raise Problem(
            401,
            "unauthorized",
            "authorization: expected Bearer and the token of this server",
            {"WWW-Authenticate": "Bearer"},
        )
