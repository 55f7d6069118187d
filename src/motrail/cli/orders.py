"""What the commands share that have a video tracked elsewhere: the order, from settings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from motrail.config import Resolved
    from motrail.remote.client import Client
    from motrail.remote.track import Order


def order_of(
    resolved: Resolved, output: Path | None, keep: Iterable[Path], *, video: bool
) -> Order:
    """An order with the settings that somebody chose; the server has its own for the rest.

    Args:
        resolved: All settings, and where they come from.
        output: Folder for the results; None for `runs/NAME`.
        keep: Files that no result may take the place of.
        video: Whether to write the video.
    """
    from motrail.remote.track import Order

    given: dict[str, dict[str, Any]] = {}
    for (section, key), origin in resolved.origins.items():
        if origin != "default":
            given.setdefault(section, {})[key] = getattr(getattr(resolved.settings, section), key)
    return Order(resolved.settings, given, output, video=video, keep=list(keep))


def with_model(client: Client, order: Order) -> Order:
    """The same with the tracker settings that come with the server's model, at the bottom.

    Whoever tracks here what is detected there needs it.

    Raises:
        RemoteError: The server does not say.
    """
    from motrail.config import Layer, resolve

    below = Layer(f"{client.url}/model", {"tracker": client.model().tracker})
    settings = resolve([Layer("flag", order.given), below]).settings
    return dataclasses.replace(order, settings=settings)
