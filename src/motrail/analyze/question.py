"""What is asked, and what is handed on while it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from motrail.analyze.zones import Places
from motrail.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motrail.analyze.calibration import Calibration
    from motrail.analyze.motion import Movement
    from motrail.analyze.rows import Rows
    from motrail.analyze.timing import Timing


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is to be found out, and from what.

    Attributes:
        rows: The boxes.
        classes: Names of the classes that `Rows.class_ids` counts from 1.
        timing: When frames are.
        size: Width and height of the pictures; None where it is not known.
        calibration: From pixels to metres; None to stay with pixels.
        places: Zones, lines and teams.
        max_gap: Longest gap in seconds that is bridged.
    """

    rows: Rows
    classes: tuple[str, ...]
    timing: Timing
    size: tuple[int, int] | None = None
    calibration: Calibration | None = None
    places: Places = field(default_factory=Places)
    max_gap: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.max_gap <= 3600:
            raise ConfigError(f"--max-gap: expected seconds up to 3600, found {self.max_gap}")

    @property
    def unit(self) -> str:
        """`m` with a calibration, else `px`."""
        return "px" if self.calibration is None else "m"

    def class_name(self, number: int) -> str:
        """The name of a class counted from 1."""
        return self.classes[number - 1] if 1 <= number <= len(self.classes) else f"class {number}"

    def group_name(self, number: int, class_number: int) -> str:
        """The team of an object; its class where there are no teams."""
        if self.places.teams is None:
            return self.class_name(class_number)
        return self.places.teams.get(number, "no team")


class Block(NamedTuple):
    """Rows of some objects, and what was found out about each row.

    Attributes:
        rows: The boxes.
        times: In seconds, shape (n,).
        pixels: Smoothed places in the picture, shape (n, 2).
        movement: How they move.
    """

    rows: Rows
    times: NDArray[np.float64]
    pixels: NDArray[np.float64]
    movement: Movement
