"""`motrail config`."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import Annotated, Any

from cyclopts import App, Parameter

from motrail.cli.settings import resolve_settings
from motrail.config import variable_name

config_app = App(name="config", help="Settings: what they are and where they come from.")


@config_app.command
def show(
    *,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    model: Annotated[str | None, Parameter(name=("--model", "-m"))] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show every setting, its value and where the value came from.

    Parameters
    ----------
    config
        TOML file with sections [detector], [tracker], [refine] and [video].
    model
        Bundle whose own settings count too.
    as_json
        Print one JSON document.
    """
    bundle = None
    if model is not None:
        from motrail.detect.detector import find_bundle

        bundle, _ = find_bundle(model)
    resolved = resolve_settings({}, config, bundle)
    rows = [
        (section, key, getattr(getattr(resolved.settings, section), key), origin)
        for (section, key), origin in resolved.origins.items()
    ]
    if as_json:
        document: dict[str, dict[str, Any]] = {}
        for section, key, value, origin in rows:
            document.setdefault(section, {})[key] = {"value": value, "from": origin}
        json.dump(document, sys.stdout, indent=2)
        print()
        return 0
    table = [("setting", "value", "from", "environment variable")]
    for section, key, value, origin in rows:
        shown = (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
        table.append((f"{section}.{key}", shown, origin, variable_name(section, key)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    return 0
