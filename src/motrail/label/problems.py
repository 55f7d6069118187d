"""What a request can get instead of an answer."""

from __future__ import annotations

from typing import Any

from motrail.errors import MotrailError


class Problem(MotrailError):  # noqa: N818 (an answer, not a fault)
    """An answer with a status of 4xx or 5xx.

    Args:
        status: Of HTTP.
        code: A word for programs.
        message: A sentence for people.
        more: What else the answer says.
    """

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more

    def as_dict(self) -> dict[str, Any]:
        """The answer."""
        return {"error": {"code": self.code, "message": self.message, **self.more}}


def bad_request(message: str) -> Problem:
    """What was asked makes no sense."""
    return Problem(400, "bad_request", message)


def not_found(message: str = "there is nothing at this address") -> Problem:
    """There is no such thing."""
    return Problem(404, "not_found", message)


def conflict(code: str, message: str, **more: Any) -> Problem:
    """It does not fit what is there by now."""
    return Problem(409, code, message, **more)
