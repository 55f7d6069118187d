"""Read a TOML file into what it is to hold, with messages that name the place."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from motrail.errors import ConfigError, FormatError

if TYPE_CHECKING:
    import os

_FAR = 1e7
STRICT = ConfigDict(extra="forbid", strict=True)
Number = Annotated[float, Field(ge=-_FAR, le=_FAR, allow_inf_nan=False)]
Place = tuple[Number, Number]
Text = Annotated[str, StringConstraints(max_length=200)]
Content = TypeVar("Content", bound=BaseModel)
_MAX_BYTES = 8 << 20


def read_toml(path: str | os.PathLike[str], model: type[Content]) -> Content:
    """Read a file.

    Args:
        path: The file.
        model: What it is to hold.

    Raises:
        ConfigError: There is no such file, or it cannot be read.
        FormatError: It is no TOML, or holds something else.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise FormatError(path, f"expected at most {_MAX_BYTES:,} bytes")
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(path, f"expected TOML: {error}") from None
    try:
        # Strict, and yet a list may stand for a tuple: as JSON has it.
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        found = "" if first["type"] == "missing" else f", found {str(first['input'])[:60]}"
        raise FormatError(path, f"{first['msg']}{found}", where=where) from None
