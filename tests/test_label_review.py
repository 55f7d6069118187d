"""`motrail review`: tracks to mend, and the errors of `motrail evaluate` among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser import SIZE, Desk, Server, chromium
from commands import Call, caller
from labelled import write_clip
from motrail.config import TrackerSettings
from motrail.dataset.folder import open_dataset
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import read_truth
from motrail.evaluate.tracked import as_labels, track_detections
from motrail.formats.mot.detections import read_detections
from motrail.label.model import boxes_of
from motrail.label.project import open_project
from motrail.label.review import TOLERANCE, Against, Review, objects_from, open_review, read_tracks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.label.store import Store

FRAMES = 40


def line(frame: int, number: int, left: float, top: float, *rest: object) -> str:
    """A line of a MOT file: a box of 12 by 16 pixels."""
    return ",".join(map(str, [frame, number, left, top, 12, 16, *rest])) + "\n"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two true cars, one moving right; tracks 5, 6 (car 1), 7 (car 2, a gap), 8 (nothing there).

    Car 1 is track 5 up to frame 20 and track 6 from 21: a switch. Car 2 is missed in 11 to 13: a
    fragment. Track 8 is false in frames 30 to 34.
    """
    folder = tmp_path_factory.mktemp("scene")
    write_clip(folder / "street.mp4", FRAMES)
    truth = folder / "truth" / "street" / "gt"
    truth.mkdir(parents=True)
    rows = [line(f, 1, f, 4, 1, 1, 1) + line(f, 2, 70, 40, 1, 1, 1) for f in range(1, FRAMES + 1)]
    (truth / "gt.txt").write_text("".join(rows))
    (truth.parent / "seqinfo.ini").write_text(
        f"[Sequence]\nname=street\nimDir=img1\nframeRate=25\nseqLength={FRAMES}\n"
        "imWidth=96\nimHeight=64\nimExt=.jpg\n"
    )
    tracks = folder / "out"
    tracks.mkdir()
    found = [line(f, 5 if f <= 20 else 6, f, 4, 0.9, 1, -1) for f in range(1, FRAMES + 1)]
    found += [line(f, 7, 70, 40, 0.5, 1, -1) for f in range(1, FRAMES + 1) if not 11 <= f <= 13]
    found += [line(f, 8, 40, 40, 0.25, 1, -1) for f in range(30, 35)]
    (tracks / "street.txt").write_text("".join(found))
    for place in (tracks, folder / "truth"):
        (place / "labels.txt").write_text("car\n")
    return folder


@pytest.fixture
def review(scene: Path, tmp_path: Path) -> Iterator[tuple[Store, Review]]:
    store = open_review(scene / "out", [scene / "street.mp4"], tmp_path / "mended")
    yield store, Review(store, scene / "out", Against(scene / "truth"))
    store.close()


def said(review: Review) -> list[tuple[str, int, list[int], list[int]]]:
    return [(e["kind"], e["frame"], e["objects"], e["truth"]) for e in review.errors(0)]


def test_tracks_are_objects_that_give_every_box_back(scene: Path) -> None:
    """Few points, and no box off by more than half a pixel, nor one more or less."""
    random = np.random.default_rng(1)
    labels = read_tracks(scene / "out")["street"]
    shaken = labels.boxes_xywh + np.cumsum(random.normal(0, 0.2, (len(labels), 4)), axis=0) * 0.05
    labels = labels.replace(boxes_xywh=shaken)
    items = objects_from(labels)
    assert [item.id for item in items] == [5, 6, 7, 8]
    assert [item.score for item in items] == [0.9, 0.9, 0.5, 0.25]
    assert sum(len(item.points) for item in items) < len(labels) / 2
    for item in items:
        rows = np.flatnonzero(labels.ids == item.id)
        rows = rows[np.argsort(labels.frames[rows])]
        shown = boxes_of(item.points)
        assert shown.frames.tolist() == labels.frames[rows].tolist()
        assert np.abs(shown.boxes_xywh - labels.boxes_xywh[rows]).max() <= TOLERANCE


def test_errors_are_those_of_evaluate(review: tuple[Store, Review]) -> None:
    _, found = review
    assert said(found) == [
        ("switch", 21, [5, 6], [1]),
        ("broken", 11, [7], [2]),
        ("false", 30, [8], []),
    ]
    messages = [error["message"] for error in found.errors(0)]
    assert messages == [
        "car 1: track 5 becomes 6",
        "car 2: track 7 is away for 3 frames",
        "track 8 (car): on no true object for 5 frames",
    ]
    assert [item["id"] for item in found.truth(0)] == [1, 2]


def test_what_is_mended_is_no_error_any_more(review: tuple[Store, Review]) -> None:
    store, found = review
    store.edit_now(0, "delete", [{"id": 8, "delete": True}])
    assert [kind for kind, *_ in said(found)] == ["switch", "broken"]


def test_a_review_goes_on_where_it_was(scene: Path, tmp_path: Path) -> None:
    for expected in ([5, 6, 7, 8], [5, 6, 7]):
        store = open_review(scene / "out", [scene / "street.mp4"], tmp_path / "mended")
        assert sorted(store.objects(0)) == expected
        if len(expected) == 4:
            store.edit_now(0, "delete", [{"id": 8, "delete": True}])
        store.close()


def test_without_truth_there_are_tracks_alone(scene: Path, tmp_path: Path) -> None:
    store = open_review(scene / "out" / "street.txt", [scene / "street.mp4"], tmp_path / "set")
    assert store.classes.names == ["car"]
    assert {item.source for item in store.objects(0).values()} == {"tracker"}
    store.close()
    again = open_project([], tmp_path / "set")  # as a project of `motrail label`, too
    assert sorted(again.objects(0)) == [5, 6, 7, 8]
    again.close()


def test_errors_have_their_causes_where_there_are_detections(scene: Path, tmp_path: Path) -> None:
    """The detector did not see car 2 in frames 11 to 13; the tracker found it again."""
    seen = [line(f, -1, f, 4, 0.9, 1, -1) for f in range(1, FRAMES + 1)]
    seen += [line(f, -1, 70, 40, 0.9, 1, -1) for f in range(1, FRAMES + 1) if not 11 <= f <= 13]
    detections = tmp_path / "detections"
    detections.mkdir()
    (detections / "street.txt").write_text("".join(seen))
    (detections / "labels.txt").write_text("car\n")
    (truth,) = read_truth(scene / "truth")
    (file,) = read_detections(detections)
    settings = TrackerSettings()
    made = as_labels(truth, file, track_detections(truth, file, settings))
    rows = zip(made.frames.tolist(), made.ids.tolist(), made.boxes_xywh.tolist(), strict=True)
    tracks = tmp_path / "street.txt"
    tracks.write_text(
        "".join(f"{f},{i},{','.join(map(str, box))},0.9,1,-1\n" for f, i, box in rows)
    )
    (tmp_path / "labels.txt").write_text("car\n")
    store = open_review(tracks, [scene / "street.mp4"], tmp_path / "mended")
    found = Review(store, tracks, Against(scene / "truth", Protocol(), detections, settings))
    assert [error["message"] for error in found.errors(0)] == [
        "car 2: track 2 is away for 3 frames – the detector did not find the object"
    ]
    store.close()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "review")


def test_what_does_not_belong_together_is_said(scene: Path, tmp_path: Path, call: Call) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text(line(1, 1, 5, 5, 0.5, 1, -1))
    (other / "b.txt").write_text(line(1, 1, 5, 5, 0.5, 1, -1))
    late = tmp_path / "late.txt"
    late.write_text(line(FRAMES + 1, 1, 5, 5, 0.5, 1, -1))
    (tmp_path / "labels.txt").write_text("car\n")
    people = tmp_path / "people"
    people.mkdir()
    (people / "street.txt").write_text((scene / "out" / "street.txt").read_text())
    (people / "labels.txt").write_text("person\n")
    video, truth = scene / "street.mp4", scene / "truth"
    for words, code, what in (
        ([tmp_path / "none", "-v", video], 2, "no such file or folder; give what `motrail track`"),
        ([other, "-v", video], 1, "expected tracks of 'street', found those of a, b"),
        ([late, "-v", video], 1, f"expected frames 1 to {FRAMES} of 'street', found {FRAMES + 1}"),
        ([scene / "out", "-v", video, "-d", other], 2, "name the truth with --truth"),
        ([people, "-v", video, "-t", truth], 1, "--map person=NAME tells what belongs together"),
        ([scene / "out", "-v", tmp_path / "no.mp4"], 2, "no such file or folder"),
    ):
        result = call(*words, "-o", tmp_path / "s", "--no-browser", "--port", 0)
        assert (result.code, what in result.err) == (code, True), (words, result)


@pytest.fixture(scope="module")
def desk(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("reviewed")
    with chromium() as browser:
        server = Server(
            folder / "mended", [scene / "out"], folder,
            ["--video", str(scene / "street.mp4"), "--truth", str(scene / "truth")], "review",
        )  # fmt: skip
        server.start()
        context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
        context.set_default_timeout(20_000)
        yield Desk(context, server).open()
        context.close()
        server.stop()


def listed(desk: Desk) -> list[str]:
    rows: list[Any] = desk.page.locator("#suggestions .suggestion .what").all_inner_texts()
    return rows


def test_errors_are_clicked_and_mended(desk: Desk) -> None:
    page = desk.page
    page.get_by_text("Errors 3").wait_for()
    page.get_by_text("car 1: track 5 becomes 6").click()
    page.locator("#stage[data-frame='21']").wait_for()
    assert page.locator("#truth").is_checked()
    assert page.locator("#objects [aria-selected=true]").count() == 2
    desk.keys("m")  # one object again
    page.get_by_text("Errors 2").wait_for()
    desk.keys("n")
    page.locator("#stage[data-frame='11']").wait_for()
    desk.keys("Shift+e")  # it was there all along
    page.get_by_text("Errors 1").wait_for()
    desk.keys("n", "Shift+Delete")
    page.get_by_text("Errors 0").wait_for()
    assert listed(desk) == []
    desk.keys("Control+s")
    page.get_by_text("Dataset written").wait_for()
    desk.expect_no_faults()
    ((_, labels),) = open_dataset(desk.server.dataset).labels()
    order = np.lexsort((labels.frames, labels.ids))
    assert labels.ids[order].tolist() == [5] * FRAMES + [7] * FRAMES
    np.testing.assert_allclose(labels.boxes_xywh[order][:FRAMES, 0], np.arange(1, 41), atol=0.5)
    assert set(map(tuple, labels.boxes_xywh[labels.ids == 7].tolist())) == {(70, 40, 12, 16)}


def test_tracks_are_filtered_by_score_length_and_class(desk: Desk) -> None:
    """Runs after the other: tracks 5 (score 0.9) and 7 (0.5) are left."""
    page = desk.page
    rows = page.locator("#objects [role=option]")
    page.locator("#min-score").fill("0.6")
    page.locator("#object-7").wait_for(state="detached")
    assert rows.count() == 1
    page.locator("#min-score").fill("0")
    page.locator("#min-length").fill("41")
    page.get_by_text("No object passes the filter.").wait_for()
    page.locator("#min-length").fill("1")
    page.locator("#filter").fill("car")
    page.locator("#object-7").wait_for()
    page.locator("#filter").fill("#7")
    page.locator("#object-5").wait_for(state="detached")
    page.locator("#filter").fill("")
    desk.expect_no_faults()
