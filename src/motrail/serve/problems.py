"""What a request can get instead of an answer: a status and a JSON error that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Problem(Exception):  # noqa: N818  (it is an answer, not an error of the server)
    """An answer with a status of 400 or more.

    Args:
        status: Of HTTP.
        code: One word for programs, such as `too_large`.
        message: One sentence for people: what was expected, what was found, what to do.
        headers: To be sent with it.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def as_dict(self, request_id: str) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}


def bad_request(message: str, code: str = "bad_request") -> Problem:
    """The client asked for something that makes no sense."""
    return Problem(400, code, message)


def too_large(what: str, limit: str) -> Problem:
    """More was sent than the server takes."""
    return Problem(413, "too_large", f"{what}: expected at most {limit}")


def unsupported(content_type: str, known: str) -> Problem:
    """A media type that is not read."""
    shown = content_type[:100] or "none"
    return Problem(415, "unsupported_media_type", f"content type: expected {known}, found {shown}")


def busy(seconds: int = 1) -> Problem:
    """All places in the queue are taken."""
    return Problem(
        503,
        "busy",
        f"the queue is full; try again in {seconds} s",
        {"Retry-After": str(seconds)},
    )
