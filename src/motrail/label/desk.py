"""What the server works on: the store, the frames, the leases and the work under way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import msgspec

import motrail
from motrail.label.frames import FrameServer, Room
from motrail.label.locks import Locks
from motrail.label.problems import conflict, not_found
from motrail.label.work import Work, Works

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from motrail.config import Settings
    from motrail.label.patches import EditRequest
    from motrail.label.requests import ClassesRequest, LockRequest, MoveRequest, WorkRequest
    from motrail.label.save import FramesWanted
    from motrail.label.store import Store
    from motrail.video.index import FrameIndex

_PICTURE_THREADS = 8


class Desk:
    """All that requests are about. All of it may be called from any thread.

    Args:
        store: What is labelled; closed by `close`.
        room: How much memory frames may take.
        model: A model bundle for pre-labels; None where there is none.
        settings: Of the model and the tracker; those of the bundle if left out.
        mode: `label`, or `review` for a tracker's result.
        locks: Who may write; their own by default.
        saved_frames: Which frames of videos are saved; see `save`.
        truth: In a review, the objects of a sequence's truth, as JSON has them.
        errors: In a review, the errors of a sequence.
    """

    def __init__(
        self,
        store: Store,
        *,
        room: Room | None = None,
        model: Path | str | None = None,
        settings: Settings | None = None,
        mode: Literal["label", "review"] = "label",
        locks: Locks | None = None,
        saved_frames: FramesWanted = "auto",
        truth: Callable[[int], Sequence[dict[str, Any]]] | None = None,
        errors: Callable[[int], Sequence[dict[str, Any]]] | None = None,
    ) -> None:
        self.store = store
        self.model, self.settings = model, settings
        self.mode = mode
        self.saved_frames = saved_frames
        self.truth = truth
        self._errors = errors
        self.locks = locks or Locks(held=store.tabs(), note=store.set_tab)
        self.frames = FrameServer(store.folder, room, self._indexed)
        self.works = Works()
        self.threads = ThreadPoolExecutor(_PICTURE_THREADS, thread_name_prefix="pictures")

    def close(self) -> None:
        """Stop what is under way and close the files."""
        self.works.close()
        self.frames.close()
        self.threads.shutdown(cancel_futures=True)
        self.store.close()

    def _indexed(self, index: int, found: FrameIndex) -> None:
        """A header may be wrong about how many frames there are; the packets are not."""
        info = self.store.sequence(index)
        if found.fault is None and len(found) and len(found) != info.length:
            self.store.set_facts(index, length=len(found), frame_rate=info.frame_rate)

    # Answers

    def project(self) -> dict[str, Any]:
        """`GET /api/project`."""
        return {
            "dataset": str(self.store.folder),
            "mode": self.mode,
            "model": self.model is not None,
            "classes": self.store.classes.as_list(),
            "sequences": [
                {
                    "index": info.index,
                    "name": info.name,
                    "split": info.split,
                    "width": info.width,
                    "height": info.height,
                    "length": info.length,
                    "frame_rate": info.frame_rate,
                    "pictures": info.kind == "video" or bool(info.pictures),
                    "revision": self.store.revision(info.index),
                    "objects": len(self.store.objects(info.index)),
                    "labelled_frames": self.store.labelled_frames(info.index),
                    "locked": self.locks.holder(info.index) and "elsewhere",
                }
                for info in self.store.sequences()
            ],
            "version": motrail.__version__,
        }

    def sequence(self, index: int) -> bytes:
        """`GET /api/sequences/{i}`, as JSON."""
        state, objects = self.store.whole(index)
        answer: dict[str, Any] = {**state, "objects": [item.as_dict() for item in objects]}
        if self.truth is not None:
            answer["truth"] = list(self.truth(index))
        return msgspec.json.encode(answer)

    def set_classes(self, wanted: ClassesRequest) -> dict[str, Any]:
        """`POST /api/classes`."""
        self.store.set_classes(msgspec.to_builtins(wanted.classes))
        return self.project()

    # Leases

    def take(self, index: int, wanted: LockRequest) -> dict[str, Any]:
        """`POST …/lock`."""
        revision = self.store.revision(index)
        held = self.locks.take(index, wanted.tab, by_force=wanted.take)
        return {"held": held, "revision": revision}

    def release(self, index: int, tab: str) -> dict[str, Any]:
        """`DELETE …/lock`."""
        revision = self.store.revision(index)
        return {"held": False, "released": self.locks.release(index, tab), "revision": revision}

    def _claim(self, index: int, tab: str) -> None:
        self.store.sequence(index)
        if not self.locks.take(index, tab):
            raise conflict("locked", "another tab writes this sequence; take it over there or here")

    # Edits

    def edit(self, index: int, request: EditRequest) -> dict[str, Any]:
        """`POST …/edits`."""
        self._claim(index, request.tab)
        return self.store.edit(index, request)

    def move(self, index: int, request: MoveRequest, *, back: bool) -> dict[str, Any]:
        """`POST …/undo` and `POST …/redo`."""
        self._claim(index, request.tab)
        moved = self.store.move(index, request.base, back=back)
        return {
            **moved.answer,
            "changed": [item.as_dict() for item in moved.changed],
            "removed": moved.removed,
            "frames": list(moved.frames) if moved.frames else None,
        }

    # Work

    def start(self, index: int, asked: WorkRequest) -> Work:
        """`POST …/work`."""
        from motrail.label import jobs

        self._claim(index, asked.tab)
        match asked.kind:
            case "save":
                return self.save(asked.tab)
            case "propagate":
                job = jobs.propagation(self, index, asked)
            case "prelabel":
                job = jobs.prelabelling(self, index, asked)
        return self.works.start(asked.kind, index, job)

    def save(self, _tab: str | None) -> Work:
        """`POST /api/save`."""
        from motrail.label.save import save

        def job(work: Work) -> dict[str, Any]:
            return save(self.store, work.progress, self.saved_frames)

        return self.works.start("save", None, job)

    def suggestions(self, index: int, after: int) -> dict[str, Any]:
        """`GET …/suggestions`."""
        from motrail.label import jobs

        return {"suggestions": jobs.suggestions(self, index, after)}

    def errors(self, index: int) -> list[dict[str, Any]]:
        """`GET …/errors`."""
        self.store.sequence(index)
        if self._errors is None:
            raise not_found("there are no errors to show: this is no review")
        return list(self._errors(index))
