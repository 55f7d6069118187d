"""What the page can ask for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from labelled import Room, create, error_of, project, room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = [1, 10.0, 10.0, 20.0, 30.0, 1]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Room]:
    with room(project(tmp_path / "set")) as running:
        yield running


def test_the_project(served: Room) -> None:
    found = served.get("/project").json()
    sequence = found["sequences"][0]
    assert sequence == {
        "index": 0, "name": "clip", "split": "all", "width": 96, "height": 64, "length": 60,
        "frame_rate": 25.0, "pictures": True, "revision": 0, "objects": 0, "labelled_frames": 0,
        "locked": None,
    }  # fmt: skip
    assert (found["mode"], found["model"]) == ("label", False)
    assert [item["name"] for item in found["classes"]] == ["person", "car"]
    served.edit(0, create(1, ROW, [5, 10, 10, 20, 30, 1]))
    sequence = served.get("/project").json()["sequences"][0]
    assert (sequence["objects"], sequence["labelled_frames"]) == (1, 5)
    assert sequence["locked"] == "elsewhere"


def test_draw_undo_redo(served: Room) -> None:
    answer = served.edit(0, create(1, ROW, attributes={"number": 7}), label="draw")
    assert answer.json() == {"revision": 1, "next_id": 2, "undo": "draw", "redo": None}
    found = served.get("/sequences/0").json()
    assert found["objects"] == [
        {"id": 1, "class": "person", "ignore": False, "status": "", "note": "", "score": None,
         "attributes": {"number": 7}, "source": "hand", "points": [ROW]}
    ]  # fmt: skip
    back = served.post("/sequences/0/undo", tab="tab", base=1).json()
    assert (back["removed"], back["changed"], back["frames"]) == ([1], [], [1, 1])
    assert served.get("/sequences/0").json()["objects"] == []
    again = served.post("/sequences/0/redo", tab="tab", base=2).json()
    assert again["changed"] == found["objects"]
    assert (again["revision"], again["undo"], again["redo"]) == (3, "draw", None)
    code, _ = error_of(served.post("/sequences/0/redo", tab="tab", base=3), 409)
    assert code == "nothing"


def test_two_tabs_do_not_overwrite_each_other(served: Room) -> None:
    assert served.post("/sequences/0/lock", tab="a").json() == {"held": True, "revision": 0}
    assert served.post("/sequences/0/lock", tab="b").json() == {"held": False, "revision": 0}
    assert served.edit(0, create(1, ROW), tab="a").status_code == 200
    assert error_of(served.edit(1, create(2, ROW), tab="b"), 409)[0] == "locked"
    assert error_of(served.post("/sequences/0/undo", tab="b", base=1), 409)[0] == "locked"
    assert served.post("/sequences/0/lock", tab="b", take=True).json() == {
        "held": True, "revision": 1
    }  # fmt: skip
    assert error_of(served.edit(1, create(2, ROW), tab="a"), 409)[0] == "locked"
    # Who has the lease and did not see the last edit is told so, too.
    code, message = error_of(served.edit(0, create(2, ROW), tab="b"), 409)
    assert code == "stale"
    assert "expected revision 1, found 0" in message
    assert served.edit(1, create(2, ROW), tab="b").status_code == 200


def test_a_lease_is_given_back(served: Room) -> None:
    served.post("/sequences/0/lock", tab="a")
    answer = served.client.request(
        "DELETE", "/api/sequences/0/lock", json={"tab": "a"}, headers=served.ours
    )
    assert answer.json() == {"held": False, "released": True, "revision": 0}
    assert served.post("/sequences/0/lock", tab="b").json()["held"] is True


def test_an_answer_that_was_lost(served: Room) -> None:
    first = served.edit(0, create(1, ROW), edit_id="same")
    assert served.edit(0, create(1, ROW), edit_id="same").json() == first.json()
    assert len(served.get("/sequences/0").json()["objects"]) == 1


def test_classes(served: Room) -> None:
    wanted = [
        {"name": "lorry", "was": "car", "key": "3", "colour": "#123456"},
        {"name": "person", "was": "person"},
        {"name": "ball", "was": None},
    ]
    found = served.post("/classes", classes=wanted).json()["classes"]
    assert [(item["name"], item["key"]) for item in found][:2] == [("lorry", "3"), ("person", "1")]
    assert found[0]["colour"] == "#123456"
    assert found[2]["name"] == "ball"
    served.edit(1, create(1, ROW))
    code, message = error_of(served.post("/classes", classes=wanted[:1]), 400)
    assert code == "bad_request"
    assert "there is no class 'car' to be renamed" in message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sequences/1", 404),
        ("GET", "/sequences/9999999999999999999999", 404),
        ("GET", "/sequences/x", 404),
        ("GET", "/sequences/1/frames/1", 404),
        ("GET", "/sequences/0/frames/0", 404),
        ("GET", "/sequences/0/frames/61", 404),
        ("GET", "/sequences/0/frames/1?width=0", 400),
        ("GET", "/sequences/0/frames/1?width=99999999999", 400),
        ("GET", "/sequences/0/frames/1?width=%D9%A3", 400),
        ("GET", "/sequences/0/frames/1?quality=best", 400),
        ("GET", "/sequences/0/strip?count=100000", 400),
        ("GET", "/sequences/0/suggestions?after=-1", 400),
        ("GET", "/sequences/0/errors", 404),
        ("GET", "/sequences/7/errors", 404),
        ("GET", "/work/1", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/project", 405),
        ("GET", "/sequences/0/edits", 405),
    ],
)
def test_what_is_not_there(served: Room, method: str, path: str, status: int) -> None:
    answer = served.client.request(method, f"/api{path}", headers=served.ours)
    error_of(answer, status)


@pytest.mark.parametrize("path", ["/edits", "/undo", "/redo", "/lock", "/work"])
@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"tab": 5}', '{"tab": ""}', "{", '"x"'])
def test_bodies_of_wrong_types(served: Room, path: str, body: str) -> None:
    answer = served.client.post(
        f"/api/sequences/0{path}", content=body,
        headers=served.ours | {"Content-Type": "application/json"},
    )  # fmt: skip
    code, message = error_of(answer, 400)
    assert code == "bad_request"
    assert message.startswith("body: ")


def test_edits_of_a_sequence_that_is_not_there(served: Room) -> None:
    assert error_of(served.edit(0, create(1, ROW), sequence=3), 404) == (
        "not_found", "there is no sequence 3"
    )  # fmt: skip
    error_of(served.post("/sequences/3/lock", tab="a"), 404)


def test_ids_of_other_sequences(tmp_path: Path) -> None:
    from labelled import write_clip

    clips = [write_clip(tmp_path / f"{name}.mp4", frames=10) for name in "ab"]
    with room(project(tmp_path / "set", *clips)) as served:
        assert served.edit(0, create(5, ROW)).status_code == 200
        code, message = error_of(served.edit(0, {"id": 5, "set": {"note": "x"}}, sequence=1), 400)
        assert (code, message) == ("bad_request", "patches[0]: id: there is no object 5")


def test_bodies_that_are_too_large(served: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motrail.label.app.MAX_BODY", 1000)
    answer = served.edit(0, create(1, ROW, note="x" * 2000))
    assert error_of(answer, 413)[0] == "too_large"
    rest = served.client.post(
        "/api/sequences/0/edits", content=b"x", headers=served.ours | {"Content-Type": "text/plain"}
    )
    assert error_of(rest, 415)[0] == "not_json"


def test_the_page_and_its_parts(served: Room) -> None:
    page = served.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    script = served.client.get("/static/edits.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "a/../../app.py", "nothing.js",
     ".hidden", "x\\..\\app.py", "edits.js/", "%00edits.js"],
)  # fmt: skip
def test_paths_out_of_the_folder(served: Room, name: str) -> None:
    assert served.client.get(f"/static/{name}").status_code == 404


def test_faults_are_told_without_their_insides(
    served: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(served.desk, "project", broken)
    code, message = error_of(served.get("/project"), 500)
    assert (code, message) == ("internal", "the server has a fault: RuntimeError")


# Work


def test_work_is_told_stopped_and_kept(served: Room) -> None:
    import threading

    go, begun = threading.Event(), threading.Event()

    def job(work: Any) -> dict[str, Any]:
        work.progress(1, 10, "working")
        begun.set()
        assert go.wait(20)
        work.progress(2)
        return {"end": True}

    work = served.desk.works.start("propagate", 0, job)
    assert begun.wait(20)
    found = served.get(f"/work/{work.id}").json()
    assert (found["state"], found["done"], found["total"], found["message"]) == (
        "running", 1, 10, "working"
    )  # fmt: skip
    code, _ = error_of(served.post("/save", tab="tab"), 409)
    assert code == "busy"
    stopped = served.client.delete(f"/api/work/{work.id}", headers=served.ours)
    assert stopped.status_code == 200
    go.set()
    for _ in range(1000):
        if served.get(f"/work/{work.id}").json()["state"] != "running":
            break
        threading.Event().wait(0.01)
    assert served.get(f"/work/{work.id}").json()["state"] == "stopped"


def test_work_that_fails_says_why(served: Room) -> None:
    answer = served.wait(served.post("/save", tab="tab"))
    assert (answer["state"], answer["message"]) == (
        "failed", "there is nothing to save yet: draw a box first"
    )  # fmt: skip


def test_following_a_box(served: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def propagate(frames: Any, boxes: Any, *, others: Any) -> Iterator[Any]:
        asked.append((dict(boxes), sorted(others)))
        for frame in list(frames)[1:]:
            moved = {
                number: (x + 2.0 * (frame.number - 5), y, w, h)
                for number, (x, y, w, h) in boxes.items()
            }
            yield frame.number, moved if frame.number < 15 else dict.fromkeys(boxes)

    asked: list[Any] = []
    monkeypatch.setattr("motrail.label.propagate.propagate", propagate)
    served.edit(0, create(1, [5, 10, 10, 20, 30, 1]), create(2, [8, 1, 1, 5, 5, 1]))
    answer = served.wait(
        served.post("/sequences/0/work", {"tab": "tab", "base": 1, "kind": "propagate",
                                          "objects": [1], "from": 5, "to": 30})
    )  # fmt: skip
    assert answer["state"] == "done", answer
    assert asked == [({1: (10, 10, 20, 30)}, [8])]
    points = answer["result"]["changed"][0]["points"]
    # It moves evenly, so that the keyframe and the last box carry all of them.
    assert points == [[5, 10, 10, 20, 30, 1], [14, 28, 10, 20, 30, 0]]
    assert answer["result"]["revision"] == 2
    assert answer["result"]["undo"] == "follow on from frame 5"
    back = served.wait(
        served.post("/sequences/0/work", {"tab": "tab", "base": 2, "kind": "propagate",
                                          "from": 5, "to": 2})
    )  # fmt: skip
    points = back["result"]["changed"][0]["points"]
    assert points[0] == [2, 4, 10, 20, 30, 0]
    assert points[-1] == [14, 28, 10, 20, 30, 0]


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"from": 1, "to": 1}, "expected two frames from 1 to 60, found 1 and 1"),
        ({"from": 1, "to": 61}, "expected two frames from 1 to 60, found 1 and 61"),
        ({"to": 5}, "expected two frames from 1 to 60, found None and 5"),
        ({"from": 9, "to": 12}, "there is nothing to follow in frame 9"),
        ({"from": 1, "to": 5, "objects": [3]}, "object 3 is not there in frame 1"),
    ],
)
def test_following_that_makes_no_sense(served: Room, asked: dict[str, Any], what: str) -> None:
    served.edit(0, create(1, ROW))
    body = {"tab": "tab", "base": 1, "kind": "propagate"} | asked
    assert what in error_of(served.post("/sequences/0/work", body), 400)[1]


def test_proposals_need_a_model(served: Room) -> None:
    pytest.importorskip("motrail.label.prelabel")
    body = {"tab": "tab", "base": 0, "kind": "prelabel"}
    _, message = error_of(served.post("/sequences/0/work", body), 400)
    assert message == "there is no model; start `motrail label` with --model"


def test_edits_are_json_that_can_be_read_back(served: Room) -> None:
    note = "\"quotes\" <b>'and'</b> \u2028 \U0001f600"
    served.edit(0, create(1, ROW, note=note, attributes={note: note}))
    found = json.loads(served.get("/sequences/0").content)["objects"][0]
    assert (found["note"], found["attributes"]) == (note, {note: note})
