"""What a worker process imports first; light, so that the process that starts it need not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.batch.detect import Detected, Load
    from motrail.batch.plan import Stretch
    from motrail.workers import Tell


def prepare() -> Callable[[Load], Callable[[Stretch, Tell], Detected]]:
    """What gives a worker what it does with a stretch; all that takes is imported then."""
    from motrail.batch.detect import make_worker

    return make_worker
