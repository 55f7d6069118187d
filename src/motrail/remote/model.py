"""What a server says that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motrail.remote.problems import RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ModelInfo:
    """What a server has.

    Attributes:
        name: Of the model.
        version: Changes when the network does.
        classes: Names of the classes; the index is the class id.
        width: Of the network's input in pixels; 0 where the server does not say.
        height: Of the network's input in pixels; 0 where the server does not say.
        device: What it runs on.
        tracker: Settings of the tracker that come with the model, where the server says them.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    width: int
    height: int
    device: str
    tracker: Mapping[str, Any]

    @classmethod
    def of(cls, document: Any) -> ModelInfo:
        """From the server's JSON.

        Raises:
            RemoteError: It is not what a model looks like.
        """
        try:
            size = document.get("input") or {}
            return cls(
                name=str(document.get("name", "")),
                version=str(document.get("version", "")),
                classes=tuple(map(str, document["classes"])),
                width=int(size.get("width") or 0),
                height=int(size.get("height") or 0),
                device=str(document.get("device", "unknown")),
                tracker=dict(document.get("tracker") or {}),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RemoteError(
                "expected a model in the server's answer; is it a motrail server?"
            ) from None
