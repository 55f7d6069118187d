"""Smooth the boxes of tracks in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEVIATIONS = 4
"""How many standard deviations the Gaussian reaches to either side."""


def smooth_runs(
    boxes_xywh: NDArray[np.float64],
    starts: NDArray[np.intp],
    lengths: NDArray[np.intp],
    sigma: float,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Smooth each run of boxes by a Gaussian.

    What is smoothed is how far a run strays from the straight line between its first and its last
    box, where it stays, so that a straight and uniform motion does not change.

    Args:
        boxes_xywh: Left, top, width, height, shape (n, 4).
        starts: First row of each run.
        lengths: Its number of rows, 3 or more.
        sigma: Standard deviation in rows.

    Returns:
        All boxes, and the rows that were smoothed.
    """
    from scipy.ndimage import gaussian_filter1d

    reach = round(_DEVIATIONS * sigma)
    if not len(starts) or not reach:
        return boxes_xywh, starts[:0]
    run, place = counted(lengths)
    row = starts[run] + place
    boxes = boxes_xywh.copy()
    first, last = boxes[starts], boxes[starts + lengths - 1]
    line = first[run] + (place / (lengths[run] - 1))[:, None] * (last - first)[run]
    beyond = _beyond_the_ends(boxes[row] - line, lengths, reach)
    smoothed = gaussian_filter1d(beyond, sigma, axis=0, mode="constant", radius=reach)
    # Where the Gaussian is cut off, a run of one huge box among tiny ones could go below zero.
    least = np.minimum.reduceat(boxes[row, 2:], np.cumsum(lengths) - lengths, axis=0)
    boxes[row] = line + smoothed[np.arange(len(row)) + (2 * run + 1) * reach]
    boxes[row, 2:] = np.maximum(boxes[row, 2:], least[run])
    return boxes, row


def _beyond_the_ends(
    strays: NDArray[np.float64], lengths: NDArray[np.intp], reach: int
) -> NDArray[np.float64]:
    """Runs continued by `reach` rows at both ends, where they are 0: turned there by 180°.

    A short run is turned as often as it takes. Cutting the Gaussian off instead would let a box
    push the one in the middle of a run of three away from it.
    """
    run, place = counted(lengths + 2 * reach)
    period = 2 * (lengths - 1)[run]
    place = (place - reach) % period
    turned = place >= lengths[run]
    place = np.where(turned, period - place, place)
    beyond: NDArray[np.float64] = strays[(np.cumsum(lengths) - lengths)[run] + place]
    beyond[turned] *= -1
    return beyond


def counted(lengths: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For runs of these lengths one after the other: run and place in it of each member."""
    run = np.repeat(np.arange(len(lengths)), lengths)
    return run, np.arange(len(run)) - (np.cumsum(lengths) - lengths)[run]
