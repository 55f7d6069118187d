"""What a client needs of the way to its model."""

from __future__ import annotations

from typing import Protocol, Self

from motrail.remote.transport import Transport


class Line(Transport, Protocol):
    """A way to a model that a client can be made from: see `Client.over`."""

    @property
    def url(self) -> str:
        """What messages call it."""

    @property
    def sessions(self) -> bool:
        """Whether the other side keeps sessions."""

    def sibling(self) -> Self:
        """Another one to the same model, that is given up and closed by itself."""

    def close(self) -> None:
        """End it."""
