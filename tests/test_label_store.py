"""What is stored: edits, undo and redo, classes, and that nothing is lost."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from labelled import create, project, room, write_clip
from motrail.errors import FormatError, OutputError
from motrail.label.locks import Locks
from motrail.label.patches import EditRequest, decode
from motrail.label.problems import Problem
from motrail.label.store import Store
from motrail.label.tables import SequenceInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = [1, 10, 10, 20, 30, 1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A project of one sequence of 100 frames."""
    made = Store(tmp_path)
    made.add_classes(["person", "car"])
    made.add_sequence(SequenceInfo("a", "all", "video", "a.mp4", width=100, height=80, length=100))
    yield made
    made.close()


def request(base: int, *patches: dict[str, Any], edit_id: str = "") -> EditRequest:
    body = {"tab": "t", "base": base, "edit_id": edit_id or f"e{base}", "patches": list(patches)}
    return decode(json.dumps(body | {"label": f"edit {base}"}).encode(), EditRequest)


def shown(store: Store) -> list[dict[str, Any]]:
    return [item.as_dict() for item in store.objects(0).values()]


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.folder)


def test_edits_are_there_after_reopening(store: Store) -> None:
    assert store.edit(0, request(0, create(1, ROW))) == {
        "revision": 1, "next_id": 2, "undo": "edit 0", "redo": None
    }  # fmt: skip
    before = shown(store)
    again = reopened(store)
    assert shown(again) == before
    assert before[0]["points"] == [ROW]
    assert again.state(0) == {"revision": 1, "next_id": 2, "undo": "edit 0", "redo": None}
    again.close()


def test_undo_and_redo_without_end_over_restarts(store: Store) -> None:
    states = [shown(store)]
    random = np.random.default_rng(0)
    for base in range(30):
        known = list(store.objects(0))
        if not known or random.random() < 0.4:
            number = store.state(0)["next_id"]
            patch = create(number, [int(random.integers(1, 101)), 1, 2, 3, 4, 1])
        elif random.random() < 0.2:
            patch = {"id": known[0], "delete": True}
        else:
            frame = int(random.integers(1, 60))
            patch = {
                "id": known[-1], "set": {"class": "car"}, "drop": [[frame, frame + 30]],
                "put": [[frame, float(base), 5, 6, 7, 3]],
            }  # fmt: skip
        store.edit(0, request(base, patch))
        states.append(shown(store))
    for count in range(29, -1, -1):
        if count % 7 == 0:
            store = reopened(store)
        store.move(0, store.revision(0), back=True)
        assert shown(store) == states[count]
    with pytest.raises(Problem, match="there is nothing to undo"):
        store.move(0, store.revision(0), back=True)
    for count in range(1, 31):
        if count % 7 == 0:
            store = reopened(store)
        store.move(0, store.revision(0), back=False)
        assert shown(store) == states[count]
    with pytest.raises(Problem, match="there is nothing to redo"):
        store.move(0, store.revision(0), back=False)
    store.close()


def test_a_new_edit_loses_what_could_be_redone(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    store.move(0, 1, back=True)
    assert store.state(0) == {"revision": 2, "next_id": 2, "undo": None, "redo": "edit 0"}
    store.edit(0, request(2, create(2, ROW)))
    assert store.state(0)["redo"] is None
    assert list(store.objects(0)) == [2]


def test_an_id_is_never_used_again(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    store.move(0, 1, back=True)
    with pytest.raises(Problem, match="expected a fresh one, 2 or above, found 1"):
        store.edit(0, request(2, create(1, ROW)))
    store.edit(0, request(2, create(7, ROW)))
    assert store.state(0)["next_id"] == 8


def test_where_undo_changed_something(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW, [50, 1, 1, 5, 5, 1])))
    store.edit(0, request(1, {"id": 1, "put": [[20, 1, 1, 5, 5, 1]], "drop": [[50, 50]]}))
    moved = store.move(0, 2, back=True)
    assert moved.frames == (20, 50)
    assert [item.id for item in moved.changed] == [1]
    assert store.move(0, 3, back=True).removed == [1]


def test_the_same_edit_twice_is_one(store: Store) -> None:
    first = store.edit(0, request(0, create(1, ROW), edit_id="once"))
    store.edit(0, request(1, create(2, ROW)))
    assert store.edit(0, request(0, create(1, ROW), edit_id="once")) == first
    assert store.revision(0) == 2


def test_an_edit_on_another_revision_is_refused(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    with pytest.raises(Problem, match="expected revision 1, found 0") as raised:
        store.edit(0, request(0, create(2, ROW), edit_id="other"))
    assert (raised.value.status, raised.value.code) == (409, "stale")
    assert raised.value.more == {"revision": 1}


def test_an_edit_is_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(Problem):
        store.edit(0, request(0, create(1, ROW), create(2, [1, 1, 1, 0, 1, 1])))
    assert shown(store) == []
    assert store.state(0) == {"revision": 0, "next_id": 1, "undo": None, "redo": None}


def test_what_changes_nothing_is_no_edit(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    answer = store.edit(0, request(1, {"id": 1, "put": [ROW]}))
    assert answer == {"revision": 1, "next_id": 2, "undo": "edit 0", "redo": None}


def test_labelled_frames_do_not_count_proposals(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW, [10, 1, 1, 5, 5, 1]),
                          create(2, [8, 1, 1, 5, 5, 1], [12, 1, 1, 5, 5, 1]),
                          create(3, [50, 1, 1, 5, 5, 1], status="proposed")))  # fmt: skip
    assert store.labelled_frames(0) == 12


def test_classes_are_renamed_everywhere(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    store.edit(0, request(1, {"id": 1, "set": {"class": "car"}}))
    store.set_classes([{"name": "lorry", "was": "car"}, {"name": "human", "was": "person"}])
    assert shown(store)[0]["class"] == "lorry"
    assert store.classes.names == ["lorry", "human"]
    assert store.revision(0) == 3
    store.move(0, 3, back=True)  # the history has the new names, too
    assert shown(store)[0]["class"] == "human"


def test_names_may_change_places(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    store.set_classes([{"name": "car", "was": "person"}, {"name": "person", "was": "car"}])
    assert shown(store)[0]["class"] == "car"


def test_a_class_in_use_stays(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    with pytest.raises(Problem, match="class 'person': 1 objects have it") as raised:
        store.set_classes([{"name": "car", "was": "car"}])
    assert raised.value.status == 409
    assert store.classes.names == ["person", "car"]


def test_undo_brings_a_removed_class_back(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    store.edit(0, request(1, {"id": 1, "delete": True}))
    store.set_classes([{"name": "car", "was": "car"}])
    assert store.classes.names == ["car"]
    store.move(0, 2, back=True)
    assert shown(store)[0]["class"] == "person"
    assert sorted(store.classes.names) == ["car", "person"]


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ([{"name": "a"}, {"name": " a "}], "name 'a' stands there twice"),
        ([{"name": "a", "was": "car"}, {"name": "b", "was": "car"}], "was 'car' stands there"),
        ([{"name": "a", "key": "1"}, {"name": "b", "key": "1"}], "key '1' stands there twice"),
        ([{"name": "a", "was": "dog"}], "there is no class 'dog' to be renamed"),
        ([{"name": "a", "colour": "red"}], "expected a colour such as #1f77b4, found 'red'"),
        ([{"name": "a", "key": "q"}], "expected a key from 1 to 9 or none, found 'q'"),
        ([{"name": " "}], "expected a name of 1 to 200 visible characters, found ' '"),
        ([{"name": "x" * 201}], "expected a name of 1 to 200 visible characters"),
        ([{"name": "a\u0000b"}], "expected a name of 1 to 200 visible characters"),
    ],
)
def test_classes_that_make_no_sense(store: Store, wanted: list[dict[str, Any]], what: str) -> None:
    with pytest.raises(Problem, match=re.escape(what)):
        store.set_classes(wanted)
    assert store.classes.names == ["person", "car"]


def test_hostile_names_are_names(store: Store) -> None:
    name = "<script>alert('1')</script>\"; DROP TABLE objects; --"
    store.set_classes([{"name": name, "was": "person"}, {"name": "car", "was": "car"}])
    store.edit(0, request(1, create(1, ROW, label=name, note=name)))
    again = reopened(store)
    assert shown(again)[0]["class"] == name
    assert shown(again)[0]["note"] == name
    again.close()


def test_colours_differ_and_keys_are_given_out(store: Store) -> None:
    store.add_classes([f"class {n}" for n in range(10)])
    found = store.classes.as_list()
    assert len({item["colour"] for item in found}) == 12
    assert [item["key"] for item in found] == [*"123456789", "", "", ""]


# The file


def test_a_second_server_is_refused(store: Store) -> None:
    with pytest.raises(OutputError, match="another `motrail label` has this dataset open"):
        Store(store.folder)


def test_a_newer_project_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(FormatError, match="of version 1, found version 99; a newer motrail made"):
        Store(store.folder)


def test_files_that_are_no_project(tmp_path: Path) -> None:
    (tmp_path / "label.sqlite").write_bytes(b"no database at all, but long enough " * 10)
    with pytest.raises(FormatError, match="expected a labelling project, found: file is not a"):
        Store(tmp_path)
    (tmp_path / "label.sqlite").unlink()
    with sqlite3.connect(tmp_path / "label.sqlite") as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    with pytest.raises(FormatError, match="found another SQLite database"):
        Store(tmp_path)


def test_a_full_disk_changes_nothing(store: Store) -> None:
    store.edit(0, request(0, create(1, ROW)))
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count={pages}")
    rows = [[frame, 0.123, 0.456, 7.89, 1.01, 1] for frame in range(1, 101)]
    patches = [create(n, *rows, note="x" * 9000) for n in range(2, 20)]
    with pytest.raises(OutputError, match="the disk is full; free some space"):
        store.edit(0, request(1, *patches))
    assert [item["id"] for item in shown(store)] == [1]
    store._database.execute("PRAGMA max_page_count=1000000")
    assert store.edit(0, request(1, *patches))["revision"] == 2


# Leases


def test_one_tab_writes_until_its_lease_ends() -> None:
    now = [100.0]
    notes: list[tuple[int, str | None]] = []
    locks = Locks(lambda: now[0], note=lambda index, tab: notes.append((index, tab)))
    assert locks.take(0, "a")
    assert not locks.take(0, "b")
    assert locks.take(1, "b")
    now[0] += 14.9
    assert locks.take(0, "a")
    now[0] += 14.9
    assert not locks.take(0, "b")
    now[0] += 0.2
    assert locks.holder(0) is None
    assert locks.take(0, "b")
    assert locks.take(0, "c", by_force=True)
    assert locks.holder(0) == "c"
    assert not locks.release(0, "b")
    assert locks.release(0, "c")
    assert locks.take(0, "a")
    assert notes == [(0, "a"), (1, "b"), (0, "b"), (0, "c"), (0, None), (0, "a")]


def test_who_had_the_lease_has_it_after_a_restart(tmp_path: Path) -> None:
    with room(project(tmp_path / "set")) as one:
        assert one.edit(0, create(1, ROW)).status_code == 200
    again = Store(tmp_path / "set")
    now = [0.0]
    locks = Locks(lambda: now[0], again.tabs())
    assert not locks.take(0, "other")
    assert locks.take(0, "tab")
    again.close()


# A server that is killed


def start(clip: Path, folder: Path, token: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "motrail", "label", str(clip), "-o", str(folder), "--no-browser",
         "--port", "0", "--classes", "person", "--token-file", str(token)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http\S+", process.stdout.readline())
    assert found is not None
    return process, found[0]


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=30)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    random = np.random.default_rng(5)
    acknowledged: dict[int, list[float]] = {}
    for _ in range(3):
        process, url = start(clip, tmp_path / "set", token)
        base = url.partition("/?")[0]
        killer = threading.Timer(float(random.uniform(0.05, 0.4)), process.kill)
        try:
            with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
                client.get(url)
                found = _expect_all(client, acknowledged)
                killer.start()
                # The one that was on its way may be there without having been answered.
                acknowledged = found
                with pytest.raises(httpx.TransportError):
                    _edit_until_it_dies(client, base, acknowledged, random)
        finally:
            killer.cancel()
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    store = Store(tmp_path / "set")
    there = {key: item.as_dict()["points"][0] for key, item in store.objects(0).items()}
    store.close()
    assert len(acknowledged) > 4
    assert acknowledged.items() == {key: there[key] for key in acknowledged}.items()
    assert len(there) <= len(acknowledged) + 1


def _expect_all(
    client: httpx.Client, acknowledged: dict[int, list[float]]
) -> dict[int, list[float]]:
    """What is there, which is all that was acknowledged and at most one more."""
    state = client.get("/api/sequences/0").json()
    found = {item["id"]: item["points"][0] for item in state["objects"]}
    assert acknowledged == {key: found[key] for key in acknowledged}
    assert len(found) <= len(acknowledged) + 1
    return found


def _edit_until_it_dies(
    client: httpx.Client, base: str, acknowledged: dict[int, list[float]], random: Any
) -> None:
    state = client.get("/api/sequences/0").json()
    headers = {"Origin": base, "X-Motrail": "1"}
    while True:
        row = [int(random.integers(1, 31)), float(random.uniform()), 1.0, 5.0, 6.0, 1]
        body = {
            "tab": "t", "base": state["revision"], "edit_id": f"{base}-{state['revision']}",
            "patches": [create(state["next_id"], row)],
        }  # fmt: skip
        answer = client.post("/api/sequences/0/edits", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        acknowledged[state["next_id"]] = row
        state = answer.json()
