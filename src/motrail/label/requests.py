"""What requests may say, beside edits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Tab = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Revision = Annotated[int, msgspec.Meta(ge=0)]
_Frame = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
_Text = Annotated[str, msgspec.Meta(max_length=1000)]


class ClassRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A class as it shall be."""

    name: _Text
    colour: _Text | None = None
    key: _Text | None = None
    was: _Text | None = None


class ClassesRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/classes`."""

    classes: Annotated[list[ClassRequest], msgspec.Meta(min_length=1, max_length=10_000)]
    tab: Tab | None = None


class TabRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which tab asks."""

    tab: Tab


class SaveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/save`."""

    tab: Tab | None = None


class LockRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST …/lock`."""

    tab: Tab
    take: bool = False


class MoveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST …/undo` and `POST …/redo`."""

    tab: Tab
    base: _Revision


class WorkRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The body of `POST …/work`."""

    tab: Tab
    kind: Literal["propagate", "prelabel", "save"]
    base: _Revision | None = None
    objects: list[int] | None = None
    from_: _Frame | None = None
    to: _Frame | None = None
    first: _Frame | None = None
    last: _Frame | None = None
