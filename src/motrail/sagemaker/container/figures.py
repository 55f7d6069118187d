"""The figures of a training run as lines that the metrics of a training job are read from.

    motrail: epoch=3 AP=0.4123 AP50=0.7012 HOTA=51.20 loss=2.3100

AP and AP50 are from 0 to 1, HOTA in per cent, the loss is the mean of the epoch's. At the end the
line of the best epoch comes once more, for that is the model's, and a tuning job takes the last.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_VALIDATED = re.compile(r"epoch=(\d+)/\d+ AP=")
"""How a line of the log begins that follows a validation."""
_DIGITS = {"AP": (100, 4), "AP50": (100, 4), "HOTA": (1, 2)}
"""Figure → what its per cent are divided by, and its decimals."""


class Figures:
    """Says the figures of each validation as soon as the log tells of it.

    Args:
        run: Folder of the run, with its `metrics.jsonl`.
        say: Takes the lines.
    """

    def __init__(self, run: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = run / "metrics.jsonl", say

    def hear(self, line: str) -> None:
        """Take a line of the log."""
        found = _VALIDATED.match(line)
        if found is not None:
            self._tell(int(found[1]), self._rows())

    def best(self, best_by: str) -> None:
        """Say the figures of the best epoch: of the first one, where several are as good.

        Args:
            best_by: The setting of that name: `ap`, `ap50` or `hota`.
        """
        rows = self._rows()
        judged = [row for row in rows if row.get("kind") == "val"]
        if judged:
            goal = best_by.upper()
            best = max(judged, key=lambda row: _number(row.get(goal)) or 0.0)
            self._tell(best["epoch"], rows)

    def _rows(self) -> list[dict[str, Any]]:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        rows = []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # cut off when the process was killed
            if isinstance(row, dict) and isinstance(row.get("epoch"), int):
                rows.append(row)
        return rows

    def _tell(self, epoch: int, rows: list[dict[str, Any]]) -> None:
        of_epoch = [row for row in rows if row["epoch"] == epoch]
        parts = [f"motrail: epoch={epoch}"]
        judged = [row for row in of_epoch if row.get("kind") == "val"]
        for name, (divisor, digits) in _DIGITS.items():
            value = _number(judged[-1].get(name)) if judged else None
            if value is not None:
                parts.append(f"{name}={value / divisor:.{digits}f}")
        losses = [_number(row.get("loss")) for row in of_epoch if row.get("kind") == "train"]
        known = [loss for loss in losses if loss is not None]
        if known:
            parts.append(f"loss={sum(known) / len(known):.4f}")
        if len(parts) > 1:
            self._say(" ".join(parts))


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None
