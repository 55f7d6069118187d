"""The machine's help on the page, and a clip labelled from start to `motrail train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from browser import SIZE, Desk, Server, chromium
from commands import caller
from models import spots_clip, write_bundle
from motrail.boxes import iou_xyxy, xywh_to_xyxy
from motrail.dataset.folder import open_dataset
from motrail.dataset.scenes import SceneSettings
from motrail.dataset.synth import write_scenes
from motrail.label.project import open_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from motrail.formats.labels import Labels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A clip of two spots, and a network that finds them; a machine lost track of object 1."""
    folder = tmp_path_factory.mktemp("spots")
    clip = spots_clip(folder / "spots.mp4")
    model = write_bundle(folder / "model")
    store = open_project([clip], folder / "labels", classes=["spot"])
    rows = [[frame, 20 + frame / 2, 24, 12, 12, 0] for frame in (1, 10)]
    store.edit_now(0, "follow", [{"id": 1, "create": {"class": "spot"}, "put": rows}])
    store.close()
    server = Server(folder / "labels", [], folder, ["--model", str(model)])
    server.start()
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
    context.set_default_timeout(30_000)
    yield Desk(context, server).open()
    context.close()
    server.stop()


def test_what_is_worth_a_look_is_shown(desk: Desk) -> None:
    desk.keys("n")
    row = desk.page.locator("#suggestions .suggestion").first
    row.wait_for()
    assert row.get_attribute("aria-current") == "true"
    assert "ends in the middle of the picture" in row.inner_text()
    desk.page.locator("#stage[data-frame='10']").wait_for()
    assert desk.page.locator("#object-1").get_attribute("aria-selected") == "true"
    desk.expect_no_faults()


def test_proposals_are_accepted_and_thrown_away(desk: Desk) -> None:
    page = desk.page
    desk.keys("Shift+m")
    page.get_by_text("Pre-labelling: done.").wait_for()
    proposed = desk.objects()[1:]
    assert len(proposed) >= 2
    assert {item["status"] for item in proposed} == {"proposed"}
    page.locator(f"#object-{proposed[0]['id']}").click()
    desk.keys("a", "r")  # the next proposal is selected after the first
    desk.stored()
    left = {item["id"]: item["status"] for item in desk.objects()}
    first, second = proposed[0]["id"], proposed[1]["id"]
    assert (left[first], second in left) == ("", False)
    desk.keys("Control+z", "Control+z")
    page.get_by_text("Undone: accept").wait_for()  # the second undo waited for the first
    desk.stored()
    assert [item["status"] for item in desk.objects()[1:]] == ["proposed"] * len(proposed)
    desk.keys("Shift+a")
    desk.stored()
    assert {item["status"] for item in desk.objects()} == {""}
    desk.expect_no_faults()


def whole(truth: Labels, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows of an object in the frames in which it is wholly in the picture."""
    left, top, width, height = truth.boxes_xywh.T
    inside = (left >= 1) & (top >= 1)
    inside &= (left + width <= truth.width - 1) & (top + height <= truth.height - 1)
    rows = np.flatnonzero(inside & (truth.ids == number))
    return rows[np.argsort(truth.frames[rows])]


@pytest.mark.proof
def test_a_clip_is_labelled_by_hand_up_to_training(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keyframes every 15 frames by the mouse; IoU with the truth, and a dataset that trains."""
    settings = SceneSettings(scene="conveyor", seed=3, width=640, height=360, frames=60)
    write_scenes([("all", "belt", settings)], tmp_path / "scene", videos=True)
    ((_, truth),) = open_dataset(tmp_path / "scene").labels()
    server = Server(
        tmp_path / "labels", [tmp_path / "scene" / "videos" / "belt.mp4"], tmp_path,
        ["--classes", "parcel", "--split", "train"],
    )  # fmt: skip
    server.start()
    context = browser.new_context(viewport={"width": 1920, "height": 1080}, reduced_motion="reduce")
    context.set_default_timeout(30_000)
    desk = Desk(context, server).open()
    drawn: dict[int, int] = {}
    for number in np.unique(truth.ids).tolist():
        rows = whole(truth, number)
        if len(rows) < 10:
            continue
        drawn[len(drawn) + 1] = number
        label(desk, truth, rows)
    desk.stored()
    desk.keys("Control+s")
    desk.page.get_by_text("Dataset written").wait_for()
    desk.expect_no_faults()
    context.close()
    server.stop()
    ((_, found),) = open_dataset(tmp_path / "labels").labels()
    overlap = overlaps(truth, found, drawn)
    assert len(drawn) >= 3
    assert float(np.mean(overlap)) >= 0.9
    call = caller(capsys, "train")
    result = call(tmp_path / "labels", "--model", "yolox-nano", "--check")
    assert result.code == 0, result.err


def label(desk: Desk, truth: Labels, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    keys = [*rows[:-1:15].tolist(), int(rows[-1])]
    desk.keys("Escape", "Escape")
    for place, row in enumerate(keys):
        desk.go(int(truth.frames[row]))
        left, top, width, height = truth.boxes_xywh[row].tolist()
        if place == 0:
            desk.keys("d")
            desk.drag((left, top), (left + width, top + height))
            middle = left + width / 2, top + height / 2
        else:
            now = left + width / 2, top + height / 2
            desk.drag(middle, now)
            middle = now


def overlaps(truth: Labels, found: Labels, drawn: dict[int, int]) -> list[float]:
    """IoU of each box of the truth that was to be labelled."""
    values = []
    for ours, theirs in drawn.items():
        for row in whole(truth, theirs).tolist():
            mine = np.flatnonzero((found.ids == ours) & (found.frames == truth.frames[row]))
            if not len(mine):
                values.append(0.0)
                continue
            a, b = xywh_to_xyxy(truth.boxes_xywh[[row]]), xywh_to_xyxy(found.boxes_xywh[mine[:1]])
            values.append(float(iou_xyxy(a, b)[0, 0]))
    return values
