"""What can go wrong between here and a server."""

from __future__ import annotations

from motrail.errors import MotrailError


class RemoteError(MotrailError):
    """A server cannot be reached, refuses, or answers with something else than was asked for.

    Args:
        message: What happened, with the server's own words.

    Attributes:
        status: Of HTTP; None where there was no answer.
        code: The server's word for programs, such as `too_large`; None where it gave none.
        request_id: By which the server's log calls the request; None where it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id

    def about(self, what: str, advice: str = "") -> RemoteError:
        """The same, with what it was about and perhaps what to do."""
        return RemoteError(
            f"{what}: {self}{advice}",
            status=self.status,
            code=self.code,
            request_id=self.request_id,
        )
