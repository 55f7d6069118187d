"""Who may write a sequence: one tab at a time, for as long as it says that it is there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_SECONDS = 15.0


@dataclass
class _Lease:
    tab: str
    until: float


class Locks:
    """A lease for each sequence.

    Args:
        now: The time in seconds.
        held: Who wrote each sequence when the server ended; they have the first lease, so that a
            page survives a restart of the server.
        note: Told of each sequence's new holder, None where there is none any more.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        held: dict[int, str] | None = None,
        note: Callable[[int, str | None], None] = lambda _sequence, _tab: None,
    ) -> None:
        self._now = now
        self._note = note
        until = now() + LEASE_SECONDS
        self._leases = {key: _Lease(tab, until) for key, tab in (held or {}).items()}

    def holder(self, sequence: int) -> str | None:
        """The tab that holds a sequence."""
        lease = self._leases.get(sequence)
        return lease.tab if lease is not None and lease.until > self._now() else None

    def take(self, sequence: int, tab: str, *, by_force: bool = False) -> bool:
        """Take or renew a lease; False where another tab has it."""
        if not by_force and self.holder(sequence) not in (None, tab):
            return False
        lease = self._leases.get(sequence)
        if lease is None or lease.tab != tab:
            self._note(sequence, tab)
        self._leases[sequence] = _Lease(tab, self._now() + LEASE_SECONDS)
        return True

    def release(self, sequence: int, tab: str) -> bool:
        """Give a lease back; False where the tab had none."""
        lease = self._leases.get(sequence)
        if lease is None or lease.tab != tab:
            return False
        del self._leases[sequence]
        self._note(sequence, None)
        return True
