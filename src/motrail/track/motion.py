"""How a camera moved between two frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from motrail.track.kalman import POSITION, VELOCITY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Motion(NamedTuple):
    """An affine map that carries a point of the last frame into this one.

    Attributes:
        linear: Shape (2, 2).
        shift: Pixels, shape (2,).
    """

    linear: NDArray[np.float64]
    shift: NDArray[np.float64]

    def move(self, state: NDArray[np.float64]) -> None:
        """Carry the states (5, 4, n) of ``cxcywh`` boxes along, in place.

        Sizes grow with the area that the map gives to a unit square; how sure a state is does not
        change.
        """
        state[POSITION, :2] = self.linear @ state[POSITION, :2] + self.shift[:, None]
        state[VELOCITY, :2] = self.linear @ state[VELOCITY, :2]
        (a, b), (c, d) = self.linear.tolist()
        state[POSITION : VELOCITY + 1, 2:] *= math.sqrt(abs(a * d - b * c))
