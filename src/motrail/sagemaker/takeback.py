"""What was made is taken back, last first, when what follows fails or is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from motrail.errors import MotrailError
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from motrail.sagemaker.request import Cloud, Request

_MISSING = frozenset(
    {"ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException", "NoSuchKey"}
)
_NOT_FOUND = ("could not find", "does not exist", "not found", "no scalable target")


def is_missing(error: CloudError) -> bool:
    """Whether AWS says that there is no such thing; SageMaker says so in words only."""
    if error.code in _MISSING:
        return True
    said = str(error).lower()
    return error.code == "ValidationException" and any(words in said for words in _NOT_FOUND)


def remove(cloud: Cloud, request: Request) -> bool:
    """Send a request that removes something; tells whether it was there.

    Raises:
        CloudError: It was refused.
    """
    try:
        cloud.call(request)
    except CloudError as error:
        if is_missing(error):
            return False
        raise
    return True


class TakeBack:
    """Undoes, last first, what was noted, if the block does not end well.

    Note how to undo something before it is done: nobody knows whether a request arrived whose
    answer did not. What undoes it has to mind that it may not be there.

    Args:
        say: Told what is done.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def note(self, what: str, undo: Callable[[], object]) -> None:
        """Note how something is undone."""
        self._steps.append((what, undo))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or not self._steps:
            return
        self._say("taking back what was made")
        left = []
        try:
            while self._steps:
                what, undo = self._steps[-1]
                try:
                    undo()
                except MotrailError as problem:
                    left.append(f"{what} ({problem})")
                self._steps.pop()
        finally:
            # One more Ctrl-C, say: what it cost nobody time to name is not left unsaid.
            left += [what for what, _ in reversed(self._steps)]
            if left:
                self._say("could not be removed, see motrail sagemaker cleanup: " + "; ".join(left))
