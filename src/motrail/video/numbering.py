"""Numbers for frames as a decoder gives them out."""

from __future__ import annotations

import heapq
import statistics
from collections import deque


class FrameNumbers:
    """Numbers for decoded frames, so that a lost frame leaves a gap.

    Which frame was lost shows in the timestamps of the packets that went in: one below that of a
    frame coming out has had its turn. It counts as lost only when the decoder complained or there
    is a hole in time, because some streams hold packets without a picture of their own (hidden
    reference frames of VP8, second fields of interlaced H.264).
    """

    def __init__(self) -> None:
        self.number = 0
        self.lost = 0
        self.first_pts: int | None = None
        self._waiting: list[int] = []
        self.failures = 0
        self._untimed = False
        self._given_up: deque[int] = deque(maxlen=64)
        self._previous: int | None = None
        self._steps: deque[float] = deque(maxlen=15)

    def packet(self, pts: int | None) -> None:
        """A packet goes into the decoder."""
        if pts is None:
            self._untimed = True
        else:
            heapq.heappush(self._waiting, pts)

    def failure(self) -> None:
        """The decoder refused a packet, this one or an earlier one."""
        self.failures += 1

    def frame(self, pts: int | None) -> int | None:
        """The number of the frame that comes out, counted from 1.

        Returns:
            None for a frame that comes after its place in line was given up as lost.
        """
        if pts in self._given_up:
            return None
        if pts is None or self._untimed:
            missing, overtaken = self.failures, []
        else:
            overtaken = self._overtaken(pts)
            missing = len(overtaken)
            if not self.failures and not self._hole(pts):
                missing = 0
            if missing:
                self._given_up.extend(overtaken)
        self._lose(missing)
        self.number += 1
        if self.first_pts is None:
            self.first_pts = overtaken[0] if missing and overtaken else pts
        if pts is not None:
            if self._previous is not None:
                self._steps.append((pts - self._previous) / (missing + 1))
            self._previous = pts
        return self.number

    def end(self) -> None:
        """The decoder is empty: what still waits was lost if it complained."""
        if self.failures:
            self._lose(self.failures if self._untimed else len(self._waiting))

    def _lose(self, count: int) -> None:
        self.lost += count
        self.number += count
        self.failures = max(0, self.failures - count)

    def _overtaken(self, pts: int) -> list[int]:
        waiting = self._waiting
        overtaken = []
        while waiting and waiting[0] < pts:
            overtaken.append(heapq.heappop(waiting))
        if waiting and waiting[0] == pts:
            heapq.heappop(waiting)
        return overtaken

    def _hole(self, pts: int) -> bool:
        if self._previous is None or not self._steps:
            return False
        return pts - self._previous > 1.5 * statistics.median(self._steps)
