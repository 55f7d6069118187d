"""Jobs: whole videos that a server works on by itself, and that survive it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motrail.serve.jobs.service import Jobs as Jobs


def __getattr__(name: str) -> Any:
    # The processes that work on jobs come through here, too, and need no web framework.
    if name == "Jobs":
        from motrail.serve.jobs.service import Jobs

        return Jobs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
