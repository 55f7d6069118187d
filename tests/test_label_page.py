"""The labelling page, used by mouse and keys in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser import SIZE, Desk, Server, chromium
from motrail.dataset.folder import open_dataset
from motrail.dataset.scenes import SceneSettings
from motrail.dataset.synth import write_scenes
from motrail.label import edits
from motrail.label.model import boxes_of, points_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser

HOSTILE = '<img src=x onerror=alert(1)> "it\'s"'
HAND, GAP = 1, 2


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of 320 × 180 pixels, with a name as bad as a file may have."""
    folder = tmp_path_factory.mktemp("clip") / "dataset"
    settings = SceneSettings(scene="conveyor", seed=1, width=320, height=180, frames=60)
    write_scenes([("all", "clip", settings)], folder, videos=True)
    video = folder / "videos" / "clip.mp4"
    return video.rename(video.with_name("<script>alert(1)<!-- 'clip'.mp4"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def server(clip: Path, browser: Browser, tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "labels", [clip], tmp_path, ["--classes", f"player,ball,{HOSTILE}"])
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def modules(
    clip: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A page whose modules are called one by one; nothing on it is changed."""
    folder = tmp_path_factory.mktemp("modules")
    running = Server(folder / "labels", [clip], folder)
    running.start()
    context = browser.new_context()
    yield Desk(context, running).open()
    context.close()
    running.stop()


@pytest.fixture
def desk(server: Server, browser: Browser) -> Iterator[Desk]:
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    yield Desk(context, server).open()
    context.close()


def expect_points(found: dict[str, Any], points: Sequence[Sequence[float]]) -> None:
    """Within a pixel, the frames and flags exactly."""
    table = np.array(found["points"], float)
    assert table[:, [0, 5]].tolist() == [[row[0], row[5]] for row in points]
    np.testing.assert_allclose(table[:, 1:5], [row[1:5] for row in points], atol=1)


def draw_two(desk: Desk) -> None:
    desk.keys("1")
    desk.drag((40, 40), (80, 100))
    desk.keys("Escape", "2")
    desk.drag((200, 60), (260, 140))


def save(desk: Desk) -> None:
    desk.stored()
    desk.keys("Control+s")
    desk.page.get_by_text("Dataset written").wait_for()


def test_a_clip_is_labelled_and_saved(desk: Desk, server: Server) -> None:
    draw_two(desk)
    desk.go(20)
    desk.drag((230, 100), (192, 100))  # the second is still selected; its box is drawn dashed here
    desk.click(60, 70)  # nothing is there: selects nothing
    desk.keys("[", "[")  # no box but the second's is on this frame yet
    assert "Object 2" in spoken(desk)
    desk.page.locator("#object-1").click()
    desk.drag((60, 70), (79, 108))
    desk.go(40)
    desk.drag((79, 108), (99, 108))
    desk.page.locator("#object-2").click()
    desk.drag((192, 100), (192, 120))

    desk.page.locator("#object-1").click()
    desk.go(25)
    desk.keys("l")
    desk.go(30)
    desk.keys("e")

    desk.go(35)
    desk.page.locator("#object-2").click(modifiers=["Shift"])
    desk.keys("s")
    desk.stored()
    swapped = desk.objects()
    assert [swapped[0]["points"][-1][3], swapped[1]["points"][-1][3]] == pytest.approx(
        [60, 40], abs=1
    )
    desk.keys("Control+z")
    desk.page.get_by_text("Undone: swap identities").wait_for()
    save(desk)

    first, second = desk.objects()
    assert (first["class"], second["class"]) == ("player", "ball")
    expect_points(first, [
        [1, 40, 40, 40, 60, HAND], [20, 59, 78, 40, 60, HAND], [25, 64, 78, 40, 60, HAND | GAP],
        [30, 64, 78, 40, 60, HAND], [40, 79, 78, 40, 60, HAND],
    ])  # fmt: skip
    ((split, labels),) = open_dataset(server.dataset).labels()
    assert split == "all"
    expected = expected_rows()
    order = np.lexsort((labels.ids, labels.frames))
    rows = np.column_stack([labels.frames, labels.ids, labels.boxes_xywh])[order]
    assert rows[:, :2].tolist() == expected[:, :2].tolist()
    np.testing.assert_allclose(rows[:, 2:], expected[:, 2:], atol=1)
    names = [labels.classes[number] for number in labels.class_ids[order]]
    assert names == ["player" if number == 1 else "ball" for number in expected[:, 1]]
    desk.expect_no_faults()


def expected_rows() -> np.ndarray[Any, np.dtype[np.float64]]:
    """What was drawn, worked out from the mouse's way: frame, id, left, top, width, height."""
    rows: list[list[float]] = []
    for frame in range(1, 41):
        if frame <= 20:
            rows.append([frame, 1, 39 + frame, 38 + 2 * frame, 40, 60])
        elif frame <= 25:
            rows.append([frame, 1, 39 + frame, 78, 40, 60])
        elif frame >= 30:
            rows.append([frame, 1, 64 + 1.5 * (frame - 30), 78, 40, 60])
        if frame <= 20:
            rows.append([frame, 2, 202 - 2 * frame, 60, 60, 80])
        else:
            rows.append([frame, 2, 162, 40 + frame, 60, 80])
    return np.array(rows, float)


def spoken(desk: Desk) -> str:
    """What a screen reader is told of where we are."""
    desk.page.wait_for_timeout(350)
    return desk.text("#live")


def test_a_reload_and_a_killed_server_lose_nothing(desk: Desk, server: Server) -> None:
    draw_two(desk)
    desk.reload()
    desk.stored()
    expect_points(desk.objects()[1], [[1, 200, 60, 60, 80, HAND]])

    desk.away = True
    server.kill()
    desk.page.locator("#object-1").click()
    desk.go(11)
    desk.drag((60, 70), (90, 70))
    desk.keys("o")
    desk.page.get_by_text("The server does not answer").wait_for()
    assert desk.text("#saved") == "2 edits kept here"
    desk.keys("Alt+Shift+ArrowRight", "Control+z")  # undone before it ever went
    assert desk.text("#saved") == "2 edits kept here"

    server.start()
    desk.stored()
    assert not desk.page.locator("#banner").is_visible()
    desk.away = False
    expect_points(desk.objects()[0], [
        [1, 40, 40, 40, 60, HAND], [11, 70, 40, 40, 60, HAND | 4],
    ])  # fmt: skip
    desk.expect_no_faults()


@pytest.mark.proof
def test_edits_survive_server_and_page(desk: Desk, server: Server) -> None:
    draw_two(desk)
    desk.stored()
    desk.away = True
    server.kill()
    desk.drag((230, 100), (240, 100))
    desk.page.get_by_text("1 edit kept here").wait_for()
    desk.page.goto("about:blank")  # the page is gone before the server is back
    server.start()
    desk.open()
    desk.stored()
    desk.away = False
    expect_points(desk.objects()[1], [[1, 210, 60, 60, 80, HAND]])


def test_an_answer_that_is_lost_is_no_second_edit(desk: Desk) -> None:
    desk.away = True
    lost: list[str] = []

    def lose(route: Any) -> None:
        if lost:
            route.fallback()
        else:
            lost.append(route.fetch().text())
            route.abort()

    desk.page.route("**/edits", lose)
    desk.drag((40, 40), (80, 100))
    desk.stored()
    assert '"revision"' in lost[0]
    assert [found["id"] for found in desk.objects()] == [1]
    desk.keys("Control+z")
    desk.page.get_by_text("Undone: draw box").wait_for()
    assert desk.objects() == []


def test_a_second_tab_reads_until_it_takes_over(desk: Desk, server: Server) -> None:
    draw_two(desk)
    desk.stored()
    other = Desk(desk.page.context, server).open()
    other.page.get_by_text("Read only: this sequence").wait_for()
    assert other.page.locator("#objects [role=option]").count() == 2
    other.drag((100, 20), (130, 50))
    other.keys("Shift+Delete")
    assert len(other.objects()) == 2

    other.page.get_by_role("button", name="Take over").click()
    other.stored()
    other.drag((100, 20), (130, 50))
    other.stored()
    desk.drag((230, 100), (230, 110))  # it does not know yet that it may not
    desk.page.get_by_text("Read only: this sequence").wait_for()
    expect_points(desk.objects()[2], [[1, 100, 20, 30, 30, HAND]])
    expect_points(desk.objects()[1], [[1, 200, 60, 60, 80, HAND]])
    assert "1 edits of this tab wait" in desk.text("#banner")

    desk.page.get_by_role("button", name="Take over").click()
    desk.stored()
    expect_points(desk.objects()[1], [[1, 200, 70, 60, 80, HAND]])
    assert len(desk.objects()) == 3
    other.expect_no_faults()


def some_points(random: np.random.Generator) -> list[list[float]]:
    """Points with every flag, in whole pixels."""
    frames = np.sort(random.choice(np.arange(1, 41), 8, replace=False))
    boxes = random.integers([0, 0, 20, 20], [200, 100, 60, 60], (8, 4))
    flags = random.integers(0, 8, 8)
    points: list[list[float]] = np.column_stack([frames, boxes, flags]).tolist()
    return points


def test_page_and_exporter_see_the_same_boxes(modules: Desk) -> None:
    random = np.random.default_rng(1)
    cases = [some_points(random) for _ in range(40)]
    shown = modules.page.evaluate(SHOWN, [cases, 22, [50, 60, 30, 40]])
    for points, (boxes, corrected) in zip(cases, shown, strict=True):
        table = points_of(points)
        expected = boxes_of(table)
        assert [frame for frame, *_ in boxes] == expected.frames.tolist()
        np.testing.assert_allclose([row[1:5] for row in boxes], expected.boxes_xywh)
        assert [row[5] for row in boxes] == expected.occluded.tolist()
        mended = edits.correct(table, 22, [50, 60, 30, 40])
        np.testing.assert_allclose(corrected, mended, atol=0.006)  # the page keeps 1/100 pixel


SHOWN = """async ([cases, frame, [x, y, w, h]]) => {
    const { boxAt, correct } = await import("/static/model.js");
    return cases.map((points) => {
        const boxes = [];
        for (let at = 1; at <= 60; at += 1) {
            const box = boxAt(points, at);
            if (box) boxes.push([at, box.x, box.y, box.w, box.h, box.occluded]);
        }
        return [boxes, correct(points, frame, { x, y, w, h })];
    });
}"""


def test_edits_of_identity_say_what_each_frame_shows(modules: Desk) -> None:
    """Whatever the points: a frame shows after an edit what the edit means, box for box."""
    random = np.random.default_rng(2)
    cases = [[some_points(random), some_points(random)] for _ in range(60)]
    found = modules.page.evaluate(EDITED, [cases, 17, 25])
    late = (np.arange(61) >= 17)[:, None]
    inside = late & (np.arange(61) <= 25)[:, None]
    for (one, two), (before, after) in zip(cases, found, strict=True):
        a, b = map(boxes, before)
        none = np.full_like(a, np.nan)
        expect_boxes(after["swap"][0], np.where(late, b, a))
        expect_boxes(after["swap"][1], np.where(late, a, b))
        expect_boxes(after["split"][0], np.where(late, none, a))
        expect_boxes(after["split"][1], np.where(late, a, none))
        expect_boxes(after["delete"][0], np.where(inside, none, a))
        expect_boxes(after["merge"][0], np.where(np.isnan(a), b, a))
        merged = boxes_of(edits.merge(points_of(one), points_of(two)))
        assert merged.frames.tolist() == [n for n, row in enumerate(after["merge"][0]) if row]
        expect_boxes(after["leave"][0][:18], a[:18])
        expect_boxes(after["occlude"][0], a)


def boxes(rows: list[list[float] | None] | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A row for each frame, not a number where the object is not there."""
    return np.array([row or [np.nan] * 4 for row in rows or [None] * 61], float)


def expect_boxes(
    rows: list[list[float] | None], expected: np.ndarray[Any, np.dtype[np.float64]]
) -> None:
    np.testing.assert_allclose(boxes(rows), expected, atol=0.02)  # 1/100 pixel, cut twice


# A document is edited by patches alone, as the server is.
EDITED = """async ([cases, first, last]) => {
    const { boxAt } = await import("/static/model.js");
    const { Document } = await import("/static/document.js");
    const edits = await import("/static/edits.js");
    const fields = { class: "ball", ignore: false, status: "", attributes: {}, note: "" };
    const shown = (object) => Array.from({ length: 61 }, (_, frame) => {
        const box = object && frame > 0 ? boxAt(object.points, frame) : null;
        return box && [box.x, box.y, box.w, box.h];
    });
    return cases.map(([a, b]) => {
        const objects = [{ id: 1, ...fields, points: a }, { id: 2, ...fields, points: b }];
        const done = (make) => {
            const doc = new Document();
            doc.load({ objects, next_id: 3 }, 60);
            doc.apply(make(objects[0], objects[1]).patches);
            return [1, 2, 3].map((id) => shown(doc.get(id)));
        };
        const split = done((one) => edits.split(one, first, 3));
        return [objects.map(shown), {
            swap: done((one, two) => edits.swap(one, two, first)),
            split: split[2].some(Boolean) ? [split[0], split[2]] : parts(objects[0]),
            delete: done((one) => edits.deleteRange(one, first, last)),
            merge: done((one, two) => edits.merge(one, two)),
            leave: done((one) => edits.leave(one, first)),
            occlude: done((one) => edits.occlude(one, first)),
        }];
    });
    // Nothing to split where one side is empty: the object stays.
    function parts(object) {
        const all = shown(object);
        return [all.map((box, at) => (at < first ? box : null)),
            all.map((box, at) => (at < first ? null : box))];
    }
}"""


def test_the_machine_follows_until_it_is_stopped(desk: Desk) -> None:
    desk.drag((100, 60), (150, 110))
    desk.stored()
    desk.keys("p")
    desk.page.locator("#progress").wait_for()
    desk.keys("Escape")
    desk.page.locator("#progress").wait_for(state="hidden")
    desk.stored()
    points = desk.objects()[0]["points"]
    assert points[0][5] == HAND
    assert all(point[5] & HAND == 0 for point in points[1:])
    desk.go(1)
    desk.keys("Alt+ArrowRight")  # the page goes on from the revision the machine left
    desk.stored()
    assert desk.objects()[0]["points"][0][1] == points[0][1] + 1
    desk.expect_no_faults()


def test_everything_is_within_reach(desk: Desk) -> None:
    draw_two(desk)
    desk.keys("3")
    desk.stored()
    assert desk.objects()[1]["class"] == HOSTILE
    assert "alert(1)" in desk.text("#object-2")
    desk.page.evaluate("document.activeElement.blur()")
    reached, nameless = set(), []
    for _ in range(150):
        desk.keys("Tab")
        key, name, outline = desk.page.evaluate(FOCUS)
        if key in reached or key.startswith("BODY"):
            continue
        reached.add(key)
        if not name.strip():
            nameless.append(key)
        assert outline != "none", key
    visible = set(desk.page.evaluate(REACHABLE))
    assert visible - reached == set()
    assert nameless == []
    assert desk.page.evaluate(CONTRAST) == []
    desk.page.locator("#stage").focus()
    desk.keys("?")
    dialog = desk.page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    assert desk.page.evaluate(CONTRAST) == []
    missing = desk.page.evaluate(UNEXPLAINED)
    assert missing == []
    desk.keys("Escape")
    assert not dialog.is_visible()
    desk.keys("Escape", "d", "d", "Alt+ArrowRight", "Control+Shift+ArrowDown")
    desk.stored()
    assert len(desk.objects()) == 3, "a box can be drawn by keys alone"
    desk.expect_no_faults()


FOCUS = """() => {
    const node = document.activeElement;
    const label = node.labels?.[0]?.textContent ?? "";
    const by = node.getAttribute("aria-labelledby");
    const name = node.getAttribute("aria-label") ?? (by && document.getElementById(by).textContent)
        ?? (node.textContent || label);
    const all = [...document.querySelectorAll("*")];
    return [node.tagName + all.indexOf(node), name, getComputedStyle(node).outlineStyle];
}"""

REACHABLE = """() => {
    const all = [...document.querySelectorAll("*")];
    return all
        .filter((node) => node.matches("button, input, select, [tabindex]"))
        .filter((node) => node.tabIndex >= 0 && !node.disabled && node.checkVisibility())
        .map((node) => node.tagName + all.indexOf(node));
}"""

# WCAG 2.2, success criterion 1.4.3: 4.5 to 1 for text.
CONTRAST = """() => {
    const parse = (text) => (text.match(/[0-9.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] > 0.85) return colour;
        }
        return [255, 255, 255];
    };
    const scope = document.querySelector("dialog[open]") ?? document.body;
    return [...scope.querySelectorAll("*")]
        .filter((node) => node.checkVisibility() && !node.closest(":disabled, .unseen"))
        .filter((node) => [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
            || node.matches("input, select"))
        .map((node) => {
            const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
            return [node, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
        })
        .filter(([, ratio]) => ratio < 4.5)
        .map(([node, ratio]) => `${node.tagName}.${node.className} ${ratio.toFixed(2)}`);
}"""

UNEXPLAINED = """async () => {
    const { COMMANDS } = await import("/static/commands.js");
    const shown = document.querySelector("#help").textContent;
    const folded = /^(nudge|size|class)/;
    return COMMANDS.filter(({ id, says }) => !folded.test(id) && !shown.includes(says))
        .map(({ id }) => id);
}"""
