"""The layout of YOLOX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.detect.decode import Grid, decode, is_decoded
from motrail.detect.layouts.base import Layout, Place
from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.detect.bundle import ModelSpec
    from motrail.detect.layouts.base import Cells, Floats, Found, Shapes, Wanted


class Yolox(Layout):
    """YOLOX, boxes in cells or in pixels."""

    expected = "(1, cells, 5 + classes)"
    preset = "yolox"

    def __init__(self, place: Place, spec: ModelSpec) -> None:
        super().__init__(place, spec)
        self._told = spec.output.format
        self._grid = Grid(self.height, self.width, spec.output.strides)
        self._decoded = False

    @staticmethod
    def find(shapes: Shapes, cells: Cells) -> Place | None:
        """The first output, whose cells are those of YOLOX's three levels."""
        name, shape = next(iter(shapes.items()))
        if len(shape) != 3 or shape[2] < 6:
            return None
        return Place((name,), shape[2] - 5, shape[1] == cells.yolox)

    def check(self, answer: Sequence[NDArray[Any]]) -> None:
        """Find out how boxes are to be read, and hold that against what was said."""
        told: Any = self._told
        self._decoded = is_decoded(_first(answer[0]), self._grid, self.classes, told=told)
        found = "yolox-decoded" if self._decoded else "yolox-raw"
        if told not in (None, found):
            raise ModelError(
                f"model.json says output format {told!r}, but the network answers in {found!r}"
            )

    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """See `motrail.detect.decode`."""
        return decode(
            _first(answer[0]),
            self._grid,
            decoded=self._decoded,
            score_threshold=wanted.score_threshold,
            nms_threshold=wanted.nms_threshold,
            allowed_classes=wanted.allowed_classes,
        )


def _first(output: Floats) -> Floats:
    if output.ndim != 3 or output.shape[0] != 1:
        raise ModelError(
            "expected the output of a YOLOX network, shape (1, cells, 5 + classes), "
            f"found {output.shape}"
        )
    first: Floats = output[0]
    return first
