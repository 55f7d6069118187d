"""Which stretch comes next.

To enter a video in its middle costs decoding a group of pictures or two for nothing. Who goes on
where it stopped does not pay that, so each worker is given the stretch that follows its last one,
as long as there is one.
"""

from __future__ import annotations

import bisect
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from motrail.batch.plan import Stretch


class Turns:
    """The stretches that are still to be done.

    Args:
        stretches: All, in the order of the videos.
    """

    def __init__(self, stretches: Iterable[Stretch]) -> None:
        self._left: dict[str, list[Stretch]] = {}
        self._at_work: Counter[str] = Counter()
        for stretch in stretches:
            self.add(stretch)

    def __len__(self) -> int:
        return sum(map(len, self._left.values()))

    def __iter__(self) -> Iterator[Stretch]:
        for left in self._left.values():
            yield from left

    def add(self, stretch: Stretch) -> None:
        """One more, or one that is to be done again."""
        left = self._left.setdefault(stretch.video.name, [])
        bisect.insort(left, stretch, key=_first)

    def drop(self, name: str) -> list[Stretch]:
        """Nothing more of a video; what was left of it."""
        return self._left.pop(name, [])

    def done(self, stretch: Stretch) -> None:
        """Nobody is at this one any more."""
        self._at_work[stretch.video.name] -= 1

    def next(self, after: Stretch | None) -> Stretch | None:
        """The next one for a worker; None if nothing is left.

        Args:
            after: What it has just done, if anything.
        """
        stretch = self._following(after) or self._untouched() or self._part_of_another()
        if stretch is None:
            return None
        left = self._left[stretch.video.name]
        left.remove(stretch)
        if not left:
            del self._left[stretch.video.name]
        self._at_work[stretch.video.name] += 1
        return stretch

    def _following(self, after: Stretch | None) -> Stretch | None:
        if after is None or after.last is None:
            return None
        left = self._left.get(after.video.name, [])
        place = bisect.bisect_left(left, after.last + 1, key=_first)
        if place < len(left) and left[place].first == after.last + 1:
            return left[place]
        return None

    def _untouched(self) -> Stretch | None:
        """The beginning of the first video that nobody is at."""
        names = (name for name in self._left if not self._at_work[name])
        name = next(names, None)
        return None if name is None else self._left[name][0]

    def _part_of_another(self) -> Stretch | None:
        """The middle of the longest row of stretches, whose beginning somebody is heading for."""
        rows = [row for left in self._left.values() for row in _rows(left)]
        if not rows:
            return None
        longest = max(rows, key=len)
        return longest[len(longest) // 2]


def _first(stretch: Stretch) -> int:
    return stretch.first


def _rows(stretches: list[Stretch]) -> list[list[Stretch]]:
    """Stretches that follow one another without a gap."""
    rows: list[list[Stretch]] = []
    for stretch in stretches:
        if rows and stretch.last is not None and rows[-1][-1].last == stretch.first - 1:
            rows[-1].append(stretch)
        else:
            rows.append([stretch])
    return rows
