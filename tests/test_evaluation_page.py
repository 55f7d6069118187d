"""The page of an evaluation: what stands in it, what is left out, and that it works."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from motrail.errors import DataError, MissingExtraError
from motrail.evaluate.events import ABOUT, Event
from motrail.evaluate.intervals import Difference
from motrail.evaluate.page.lanes import Lanes
from motrail.evaluate.page.parts import About, Advice, CauseTotal, Findings, Hint
from motrail.evaluate.page.scenes import Limits, Scenes
from motrail.evaluate.page.tables import by_name
from motrail.evaluate.page.write import make_page, write_page
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, Score, matched_sequences
from motrail.evaluate.why.find import find_events
from motrail.formats.labels import COLUMNS, Coded, Labels
from test_report import HOSTILE, Parsed, outside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from motrail.report.page import Page

LENGTH = 20
ALL = range(1, LENGTH + 1)


def moving(frames: Sequence[int]) -> list[list[float]]:
    """The boxes of object 1: ten pixels from the top, one to the right in each frame."""
    return [[10.0 + frame, 10.0, 20.0, 20.0] for frame in frames]


def still(frames: Sequence[int], left: float = 100.0) -> list[list[float]]:
    return [[left, 50.0, 20.0, 20.0] for _ in frames]


def labels(
    name: str, parts: Sequence[tuple[int, Sequence[int], list[list[float]]]], class_name: str
) -> Labels:
    """Objects as id, frames and boxes."""
    frames = np.concatenate([np.empty(0, np.int64), *(np.array(f) for _, f, _ in parts)])
    ids = np.concatenate([np.empty(0, np.int64), *(np.full(len(f), i) for i, f, _ in parts)])
    boxes = np.array([box for _, _, boxes in parts for box in boxes], np.float64).reshape(-1, 4)
    return Labels.of(
        name,
        (class_name,),
        frames.astype(np.int64),
        ids.astype(np.int64),
        boxes,
        np.zeros(len(frames), np.int64),
        width=200,
        height=100,
        length=LENGTH,
        frame_rate=10.0,
    )


def true_labels(name: str = "clip", class_name: str = "car") -> Labels:
    return labels(name, [(1, ALL, moving(ALL)), (2, ALL, still(ALL))], class_name)


def results(name: str = "clip", class_name: str = "car") -> Labels:
    """Object 1 changes from 5 to 9 in frame 7 and is lost in 11 to 13; 2 is found from 4 on."""
    later = [frame for frame in range(7, 21) if not 11 <= frame <= 13]
    parts = [
        (5, range(1, 7), moving(range(1, 7))),
        (9, later, moving(later)),
        (3, range(4, 21), still(range(4, 21))),
        (8, (15, 16), still((15, 16), 150.0)),
    ]
    return labels(name, parts, class_name)


def the_events(name: str = "clip", class_name: str = "car") -> list[Event]:
    return [
        Event(name, class_name, "misses", 1, 3, 2, None, 3, boxes=3),
        Event(name, class_name, "switch", 6, 7, 1, 5, 9, cause="crossed", other_id=2),
        Event(name, class_name, "fragment", 11, 13, 1, 9, 9, boxes=3, cause="low score"),
    ]


class Scored:
    """Sequences scored and collected as the command does it."""

    def __init__(self, limits: Limits | None = None, protocol: Protocol | None = None) -> None:
        self.scenes = Scenes(limits)
        self.protocol = protocol or Protocol()
        self.parts: dict[str, Mapping[str, Score]] = {}
        self.notes = Counter[str]()

    def add(self, truth: Labels, found: Labels, events: Sequence[Event]) -> None:
        counted = self.protocol.count(truth, found, truth.length)
        self.parts[truth.name] = {name: Score.of(part.pairs) for name, part in counted.items()}
        self.scenes.take(truth, found, counted, events)

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.protocol, self.parts, self.notes)

    def page(self, **options: Any) -> Page:
        return make_page(self.evaluation, scenes=self.scenes, **options)

    def data(self) -> dict[str, Any]:
        """What the page's script is given."""
        found: dict[str, Any] = json.loads(json.dumps(self.scenes.data()))
        return found


def one_clip(limits: Limits | None = None, **changes: object) -> Scored:
    scored = Scored(limits)
    scored.add(true_labels().replace(**changes), results(), the_events())
    return scored


def embedded(text: str) -> dict[str, Any]:
    """What the page's script is given."""
    found: dict[str, Any]
    for attributes, script in Parsed(text).scripts:
        if attributes.get("id") == "data-errors":
            found = json.loads(script)
            return found
    raise AssertionError("no data of errors in the page")


def rows_of(text: str, name: str) -> dict[str, list[str]]:
    """The rows of a table as text, by their first cell."""
    table = text.split(f'aria-label="{name}"', 1)[1].split("</table>", 1)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)[1:]
    cells = [re.findall(r"<span>(.*?)</span></td>", row, flags=re.DOTALL) for row in rows]
    return {row[0]: row[1:] for row in cells}


class TestScores:
    def test_tiles(self) -> None:
        """40 true boxes, 6 missed, 2 found where there is nothing, 1 switch: 31 / 40."""
        texts = Parsed(one_clip().page(intervals={"MOTA": (70.5, 80.25)}).render()).texts
        place = texts.index("MOTA")
        assert texts[place : place + 3] == ["MOTA", "77.50", "95 %: 70.50 to 80.25"]
        place = texts.index("IDSW")
        assert texts[place : place + 3] == [
            "IDSW",
            "1",
            "How often an object changed its identity.",
        ]

    def test_what_was_scored_with_what(self) -> None:
        about = About("runs/night", "data/val", "runs/day", "3 May", {"lost_frames": "30"})
        texts = Parsed(one_clip().page(about=about).render()).texts
        assert texts.count("Tracking quality of night") == 2  # of the window, and of the page
        facts = {
            "Results": "runs/night",
            "Truth": "data/val",
            "Compared with": "runs/day",
            "Sequences": "1",
            "Frames": "20",
            "True boxes": "40",
            "Boxes found": "36",
            "True identities": "2",
            "Classes": "1",
            "Date": "3 May",
            "Protocol": "classes",
            "lost_frames": "30",
        }
        assert {name: texts[texts.index(name) + 1] for name in facts} == facts
        assert any(text.startswith("motrail ") for text in texts)

    @pytest.mark.parametrize(
        ("protocol", "said"),
        [
            (Protocol("mot17"), "Scored as MOT17 does: pedestrians only"),
            (Protocol(), "a box counts as found only by a box of the same class"),
            (Protocol(class_aware=False), "Scored as if all objects were of one class"),
        ],
    )
    def test_the_protocol_in_words(self, protocol: Protocol, said: str) -> None:
        scored = Scored(protocol=protocol)
        scored.add(true_labels(class_name="pedestrian"), results(class_name="pedestrian"), [])
        assert said in scored.page().render()

    def test_the_tables_hold_the_figures_of_the_evaluation(self) -> None:
        scored = one_clip()
        scored.add(true_labels("b", "van"), true_labels("b", "van"), [])
        text = scored.page().render()
        evaluation = scored.evaluation
        by_sequence = rows_of(text, "Scores by sequence")
        assert by_sequence.keys() == {"clip", "b", "combined"}
        for name, score in [*evaluation.sequences.items(), ("combined", evaluation.combined)]:
            values = score.as_dict()
            keys = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "MOTA", "MOTP")
            assert by_sequence[name][:7] == [f"{values[key]:.2f}" for key in keys]
            keys = ("IDSW", "Frag", "CLR_FP", "CLR_FN", "MT", "PT", "ML")
            assert by_sequence[name][7:] == [f"{values[key]:.0f}" for key in keys]
        assert by_sequence["clip"][7:11] == ["1", "1", "2", "6"]
        assert by_sequence["b"][:6] == ["100.00"] * 6
        assert rows_of(text, "Scores by class").keys() == {"car", "van", "combined"}

    def test_bars_of_counts_are_shares_of_the_largest(self) -> None:
        """6 boxes are missed in one sequence, 3 in the other."""
        scored = one_clip()
        scored.add(true_labels("b"), true_labels("b")[3:], [])
        table = by_name("sequence", scored.evaluation.sequences, scored.evaluation.combined)
        place = [column.name for column in table.columns].index("FN")
        assert [(row[place].text, row[place].share) for row in table.rows] == [("6", 1), ("3", 0.5)]
        assert table.foot[0][place].text == "9"
        assert table.foot[0][place].share is None

    def test_one_class_and_one_sequence_need_no_sums(self) -> None:
        text = one_clip().page().render()
        assert rows_of(text, "Scores by sequence").keys() == {"clip"}
        assert "Scores by class" not in text
        assert "HOTA of each sequence" not in text

    def test_notes(self) -> None:
        scored = one_clip()
        scored.notes["x: has no results"] = 1
        scored.notes["twice"] = 2
        texts = Parsed(scored.page().render()).texts
        assert {"x: has no results", "twice (2 times)"} <= set(texts)

    def test_many_notes_are_folded(self) -> None:
        scored = one_clip()
        scored.notes.update(f"note {number}" for number in range(25))
        text = scored.page().render()
        assert "5 more notes" in text
        assert "note 24" in text.split("5 more notes")[1]

    def test_without_frames(self) -> None:
        text = make_page(one_clip().evaluation).render()
        assert "data-errors" not in text
        assert rows_of(text, "Scores by sequence").keys() == {"clip"}


class TestComparison:
    def test_verdicts(self) -> None:
        against = [
            Difference("HOTA", 60.0, 58.0, 2.0, 0.5, 3.25, "better"),
            Difference("MOTA", 50.0, 51.0, -1.0, -2.0, -0.5, "worse"),
            Difference("IDSW", 1200.0, 1203.0, -3.0, -10.0, 4.0, "not known"),
            Difference("IDF1", 70.0, 70.0, 0.0, 0.0, 0.0, "the same"),
            Difference("AssA", 70.0, 69.0, 1.0, None, None, "not known"),
        ]
        rows = rows_of(one_clip().page(against=against).render(), "Comparison")
        assert rows == {
            "HOTA": ["▲ better", "60.00", "58.00", "+2.00", "+0.50 to +3.25"],
            "MOTA": ["▼ worse", "50.00", "51.00", "−1.00", "−2.00 to −0.50"],
            "IDSW": ["? not known", "1,200", "1,203", "−3", "−10 to +4"],
            "IDF1": ["= the same", "70.00", "70.00", "0.00", "0.00 to 0.00"],
            "AssA": ["? not known", "70.00", "69.00", "+1.00", "one sequence: none"],
        }


class TestExplanation:
    def test_advice_and_causes(self) -> None:
        found = Findings(
            [CauseTotal("low score", "too weak", 12, 1234, 3)],
            [Advice("lost_frames", "30", "60", {"HOTA": 1.5, "MOTA": -0.25}, "x", "Wait.", 9, 4)],
            [Advice("low_threshold", "0.1", "0.05", {"HOTA": -0.5}, "low score")],
            [Hint("never detected", 7, 80, "Label these.")],
            "Tracked again.",
        )
        text = one_clip().page(explanation=found).render()
        assert rows_of(text, "Advice") == {
            "lost_frames": ["30", "60", "+1.50", "−0.25", "x", "9 → 4", "Wait."]
        }
        assert rows_of(text, "Tried without gain")["low_threshold"][2] == "−0.50"
        assert rows_of(text, "What no setting mends") == {
            "never detected": ["7", "80", "Label these."]
        }
        assert rows_of(text, "Causes") == {"low score": ["12", "3", "1,234", "too weak"]}
        assert {"Tracked again.", "1,234", "1 tried without gain"} <= set(Parsed(text).texts)

    def test_nothing_helps(self) -> None:
        text = one_clip().page(explanation=Findings()).render()
        assert "No change of a setting was found that helps." in text
        assert "Causes of the errors" not in text


class TestErrors:
    def test_the_list_most_costly_first(self) -> None:
        """The switch leaves 6 boxes on its shorter side; 3 are missed by each of the others."""
        data = one_clip().data()
        events = data["events"]
        assert [data["kinds"][kind] for kind in events["kind"]] == ["switch", "fragment", "misses"]
        assert events["cost"] == [6, 3, 3]
        assert (events["start"], events["end"]) == ([6, 11, 1], [7, 13, 3])
        assert (events["truth"], events["other"]) == ([1, 1, 2], [2, None, None])
        assert (events["before"], events["after"]) == ([5, 9, None], [9, 9, 3])
        assert [data["causes"][c] if c >= 0 else None for c in events["cause"]] == [
            "crossed",
            "low score",
            None,
        ]
        assert data["meanings"] == {c: ABOUT[c] for c in ("crossed", "low score")}
        assert events["shown"] == [1, 1, 1]
        assert data["total"] == 3

    def test_when_errors_happen(self) -> None:
        (sequence,) = one_clip().data()["sequences"]
        assert sequence["step"] == 1
        assert sequence["lanes"] == {
            "switch": [6, 1],
            "fragment": [10, 1, 11, 1, 12, 1],
            "misses": [0, 1, 1, 1, 2, 1],
            "false positives": [14, 1, 15, 1],
        }
        assert {key: sequence[key] for key in ("name", "width", "height", "length", "rate")} == {
            "name": "clip",
            "width": 200,
            "height": 100,
            "length": 20,
            "rate": 10,
        }

    def test_boxes_around_an_error(self) -> None:
        """Pictures are small: boxes are given in eighths of a pixel."""
        data = one_clip(Limits(margin=2)).data()
        assert data["sequences"][0]["scale"] == 8
        (frames,) = data["frames"]
        assert sorted(map(int, frames)) == [*range(1, 16)]
        object_1, object_2 = [88, 80, 160, 160], [800, 400, 160, 160]
        truth, found = frames["1"].split(";")
        assert json.loads(f"[{truth}]") == [1, *object_1, 2, *object_2]
        assert json.loads(f"[{found}]") == [5, *object_1]
        assert frames["12"].split(";")[1] == "3,800,400,160,160"

    def test_ignored_boxes_are_not_drawn(self) -> None:
        scored = one_clip(ignore=true_labels().ids == 2)
        (frames,) = scored.data()["frames"]
        assert frames["8"] == "1,144,80,160,160;9,144,80,160,160"

    def test_unknown_size(self) -> None:
        """The frame is as large as the boxes in it reach: 150 + 20 by 50 + 20."""
        (sequence,) = one_clip(width=0, height=0).data()["sequences"]
        assert (sequence["width"], sequence["height"]) == (170, 70)

    def test_large_frames_need_no_fractions(self) -> None:
        (sequence,) = one_clip(width=1920, height=1080).data()["sequences"]
        assert sequence["scale"] == 1

    def test_without_errors(self) -> None:
        scored = Scored()
        scored.add(true_labels(), true_labels(), [])
        text = scored.page().render()
        assert "There are none: every object was found in every frame" in text
        assert "data-errors" not in text

    def test_without_errors_but_with_false_positives(self) -> None:
        scored = Scored()
        rows = true_labels()
        more = labels("clip", [(7, (1, 2), still((1, 2), 150.0))], "car")
        both = rows.replace(
            **{
                name: np.concatenate([getattr(rows, name), getattr(more, name)])
                for name in COLUMNS
                if name not in {"attributes", "source_ids"}
            },
            attributes=Coded.none(42),
            source_ids=Coded.none(42),
        )
        scored.add(rows, both, [])
        assert "Boxes found where there is no object: 2." in scored.page().render()

    def test_nothing_found_at_all(self) -> None:
        scored = Scored()
        missed = [Event("clip", "car", "misses", 1, LENGTH, n, boxes=LENGTH) for n in (1, 2)]
        scored.add(true_labels(), results()[:0], missed)
        text = scored.page().render()
        assert embedded(text)["events"]["cost"] == [20, 20]
        assert rows_of(text, "Scores by sequence")["clip"][5] == "0.00"

    @pytest.mark.parametrize(
        ("event", "message"),
        [
            (Event("other", "car", "misses", 1, 3, 2), "expected events of 'clip', found one of"),
            (Event("clip", "car", "misses", 3, 21, 2), "in frames 1 to 20, found one in 3 to 21"),
            (Event("clip", "car", "misses", 3, 2, 2), "in frames 1 to 20, found one in 3 to 2"),
        ],
    )
    def test_events_that_do_not_belong(self, event: Event, message: str) -> None:
        with pytest.raises(DataError, match=message):
            Scored().add(true_labels(), results(), [event])


class TestLanes:
    def test_long_sequences_are_counted_in_steps(self) -> None:
        """4,000 frames in steps of 10: switches add up, of the others the most at once counts."""
        events = [
            Event("a", "car", "switch", 4, 5, 1),
            Event("a", "car", "switch", 8, 9, 1),
            Event("a", "car", "fragment", 11, 15, 1, boxes=5),
            Event("a", "car", "fragment", 15, 25, 2, boxes=11),
        ]
        lanes = Lanes.of(events, 4000, np.array([4000, 3999, 4000, 1]))
        assert lanes.as_dict(1) == {
            "step": 10,
            "lanes": {
                "switch": [0, 2],
                "fragment": [1, 2, 2, 1],
                "misses": [],
                "false positives": [0, 1, 399, 2],
            },
        }

    def test_with_many_sequences_steps_are_longer(self) -> None:
        """300 sequences of 400 steps are twice too many."""
        lanes = Lanes.of([Event("a", "car", "switch", 4, 5, 1)], 400, np.array([399, 400]))
        assert lanes.as_dict(300) == {
            "step": 2,
            "lanes": {"switch": [2, 1], "fragment": [], "misses": [], "false positives": [199, 1]},
        }


@pytest.fixture
def footage(tmp_path: Path) -> dict[int, Path]:
    """A picture of each frame, 1200 by 600, in shades of grey by its number."""
    for frame in ALL:
        Image.new("RGB", (1200, 600), (frame * 10,) * 3).save(tmp_path / f"{frame}.png")
    return {frame: tmp_path / f"{frame}.png" for frame in ALL}


def opened(address: str) -> Image.Image:
    head, data = address.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


class TestLimits:
    def test_pictures(self, footage: dict[int, Path]) -> None:
        pictures = one_clip(pictures=footage).data()["pictures"]
        assert pictures.keys() == {"0/6", "0/7", "0/11", "0/1"}
        picture = opened(pictures["0/7"])
        assert (picture.format, picture.size) == ("JPEG", (960, 480))
        pixel = picture.getpixel((5, 5))
        assert isinstance(pixel, tuple)
        assert pixel == pytest.approx((70, 70, 70), abs=2)

    def test_number_of_pictures(self, footage: dict[int, Path]) -> None:
        data = one_clip(Limits(pictures=2), pictures=footage).data()
        assert data["pictures"].keys() == {"0/6", "0/7"}

    def test_size_of_pictures(self, footage: dict[int, Path]) -> None:
        sizes = [
            len(text) for text in one_clip(pictures=footage).scenes.data()["pictures"].values()
        ]
        exact = one_clip(Limits(picture_bytes=sizes[0] + sizes[1]), pictures=footage)
        assert len(exact.scenes.data()["pictures"]) == 2
        short = one_clip(Limits(picture_bytes=sizes[0] + sizes[1] - 1), pictures=footage)
        assert len(short.scenes.data()["pictures"]) == 1

    def test_small_pictures_stay_small(self, footage: dict[int, Path]) -> None:
        Image.new("L", (100, 50)).save(footage[6])
        pictures = one_clip(pictures=footage).scenes.data()["pictures"]
        assert opened(pictures["0/6"]).size == (100, 50)

    def test_pictures_lie_as_a_person_sees_them(self, footage: dict[int, Path]) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter
        Image.new("RGB", (300, 100)).save(footage[6], exif=exif)
        pictures = one_clip(pictures=footage).scenes.data()["pictures"]
        assert opened(pictures["0/6"]).size == (100, 300)

    def test_pictures_that_cannot_be_read(self, footage: dict[int, Path]) -> None:
        footage[6].write_bytes(b"no picture")
        footage[7].write_bytes(footage[11].read_bytes()[:200])
        footage[11].unlink()
        text = one_clip(pictures=footage).page().render()
        assert embedded(text)["pictures"].keys() == {"0/1"}
        said = "a picture could not be read, and is missing from the page (3 times)"
        assert said in Parsed(text).texts

    def test_number_of_errors(self) -> None:
        data = one_clip(Limits(events=2)).data()
        assert data["events"]["cost"] == [6, 3]
        assert data["total"] == 3
        (sequence,) = data["sequences"]
        assert sequence["lanes"]["misses"] == [0, 1, 1, 1, 2, 1]  # all of them are counted

    def test_boxes_of_the_most_costly_errors_come_first(self) -> None:
        (frames,) = one_clip(Limits(margin=1)).scenes.data()["frames"]
        needed = sum(len(frames[frame]) + 12 for frame in (5, 6, 7, 8))
        data = one_clip(Limits(margin=1, box_bytes=needed)).scenes.data()
        assert data["events"]["shown"] == [1, 0, 0]
        assert [*data["frames"][0]] == [5, 6, 7, 8]

    def test_boxes_are_not_given_by_halves(self) -> None:
        data = one_clip(Limits(box_bytes=100)).scenes.data()
        assert data["events"]["shown"] == [0, 0, 0]
        assert data["frames"] == [{}]

    @pytest.mark.parametrize("limits", [Limits(events=20), Limits(box_bytes=600, margin=1)])
    def test_what_is_kept_does_not_grow_with_the_footage(self, limits: Limits) -> None:
        scored = Scored(limits)
        for number in range(40):
            name = f"clip-{number}"
            scored.add(true_labels(name), results(name), the_events(name))
            assert len(scored.scenes._listed) <= 2 * limits.events
            assert scored.scenes._size() <= 2 * limits.box_bytes
        data = scored.data()
        assert data["events"]["cost"] == ([6] * 40 + [3] * 80)[: limits.events]
        assert data["total"] == 120
        size = sum(len(text) for frames in data["frames"] for text in frames.values())
        assert 0 < size <= limits.box_bytes

    def test_a_page_stays_below_15_megabytes(self, tmp_path: Path) -> None:
        """With pictures of noise, which JPEG cannot shrink, and thousands of boxes."""
        rng = np.random.default_rng(1)
        noise = Image.fromarray(rng.integers(0, 256, (700, 960, 3), np.uint8))
        noise.save(tmp_path / "noise.bmp")
        count, length = 1000, 120
        frames = np.repeat(np.arange(1, length + 1), count)
        ids = np.tile(np.arange(count), length)
        boxes = np.column_stack([6.0 * ids, 10.0 * frames, np.full((len(ids), 2), 30.0)])
        classes = np.zeros(len(ids), np.int64)
        truth = Labels.of(
            "crowd", ("car",), frames, ids, boxes, classes, width=6000, height=1300, length=length
        ).replace(pictures=dict.fromkeys(range(1, length + 1), tmp_path / "noise.bmp"))
        events = [
            Event("crowd", "car", "switch", start, start + 1, number, 1, 2)
            for start in range(1, length)
            for number in range(0, count, 33)
        ]
        scored = Scored()
        scored.add(truth, truth.replace(ids=truth.ids + 500), events)
        write_page(tmp_path / "page.html", scored.evaluation, scenes=scored.scenes)
        size = (tmp_path / "page.html").stat().st_size
        assert 9_000_000 < size < 15_000_000
        data = scored.scenes.data()
        assert len(data["events"]["cost"]) == 2_000
        assert 0 < sum(data["events"]["shown"]) < 2_000


@pytest.fixture(scope="module")
def twins() -> tuple[str, str]:
    """The same page with harmless names, and with hostile ones."""
    texts = []
    for text in ("plain", HOSTILE):
        scored = Scored()
        scored.add(true_labels(text, text), results(text, text), the_events(text, text))
        scored.add(true_labels("b", text), results("b", text), the_events("b", text))
        scored.notes[text] = 1
        about = About(text, text, text, text, {text: text})
        found = Findings(
            [CauseTotal(text, text, 1, 1)],
            [Advice(text, text, text, {"HOTA": 1.0}, text, text)],
            hints=[Hint(text, 1, 1, text)],
            note=text,
        )
        texts.append(scored.page(about=about, explanation=found).render())
    return texts[0], texts[1]


class TestHostile:
    def test_names_do_not_become_markup(self, twins: tuple[str, str]) -> None:
        honest, hostile = map(Parsed, twins)
        kinds = [
            Counter(tag for tag, _ in page.elements if tag != "path") for page in (honest, hostile)
        ]
        # A long name is written aslant below its bar, which takes more elements of the drawing.
        drawing = {"g", "use", "text", "clippath", "rect", "defs"}
        assert {t: n for t, n in kinds[0].items() if t not in drawing} == {
            t: n for t, n in kinds[1].items() if t not in drawing
        }
        assert len(hostile.scripts) == 3

    def test_names_arrive_unchanged(self, twins: tuple[str, str]) -> None:
        data = embedded(twins[1])
        assert data["sequences"][0]["name"] == HOSTILE
        assert data["classes"] == [HOSTILE]

    def test_nothing_is_asked_for_elsewhere(
        self, twins: tuple[str, str], footage: dict[int, Path]
    ) -> None:
        assert outside(twins[1]) == []
        text = one_clip(pictures=footage).page().render()
        assert outside(text) == []
        assert "://" not in text

    def test_a_name_that_is_half_a_letter(self, tmp_path: Path) -> None:
        scored = Scored()
        scored.add(true_labels("a\ud800"), results("a\ud800"), the_events("a\ud800"))
        write_page(tmp_path / "page.html", scored.evaluation, scenes=scored.scenes)
        assert embedded((tmp_path / "page.html").read_text())["sequences"][0]["name"] == "a?"


class TestWhole:
    def test_the_same_input_gives_the_same_bytes(
        self, tmp_path: Path, footage: dict[int, Path]
    ) -> None:
        for name in ("a.html", "b.html"):
            scored = one_clip(pictures=footage)
            write_page(tmp_path / name, scored.evaluation, scenes=scored.scenes)
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    def test_inputs_stay_as_they_are(self) -> None:
        truth, found = true_labels(), results()
        before = [array.copy() for array in (truth.boxes_xywh, found.boxes_xywh, truth.frames)]
        scored = Scored()
        scored.add(truth, found, the_events())
        scored.page().render()
        after = (truth.boxes_xywh, found.boxes_xywh, truth.frames)
        assert all(map(np.array_equal, before, after))
        assert scored.evaluation.notes == Counter()

    def test_three_hundred_sequences(self) -> None:
        scored = Scored()
        for number in range(300):
            name = f"clip-{number:03d}"
            scored.add(true_labels(name), results(name), the_events(name))
        text = scored.page().render()
        assert len(rows_of(text, "Scores by sequence")) == 301
        assert "The 24 lowest of 300." in text
        bars = text.split("<h3>Detection and association, by sequence</h3>")[1].split("</figure>")[
            0
        ]
        assert len(re.findall(r">clip-\d+<", bars)) == 24
        assert "Only the 200 lowest are drawn." in text
        data = embedded(text)
        assert (len(data["sequences"]), data["total"]) == (300, 900)
        assert len(text) < 2_000_000

    @pytest.mark.parametrize("package", ["jinja2", "matplotlib", "PIL"])
    def test_a_package_is_missing(
        self,
        package: str,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        footage: dict[int, Path],
    ) -> None:
        scored = one_clip(pictures=footage)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            MissingExtraError,
            match=rf"'{package}' is needed for this and not installed; "
            r'run: pip install "motrail\[evaluate\]"',
        ):
            write_page(tmp_path / "page.html", scored.evaluation, scenes=scored.scenes)
        assert not (tmp_path / "page.html").exists()

    def test_real_tracks(self, data: Path) -> None:
        """Of the published tracker on all frames of MOT17-09; the counts are the metrics' own."""
        scored = Scored(protocol=Protocol("mot17"))
        truth = data / "mot17" / "gt"
        found = data / "mot17" / "bytetrack_reference" / "default"
        for labels_, results_ in matched_sequences(found, truth, scored.protocol, scored.notes):
            if labels_.name in {"MOT17-05", "MOT17-09"}:
                scored.add(labels_, results_, find_events(labels_, results_, scored.protocol))
        clear = scored.evaluation.combined.clear
        text = scored.page().render()
        found_ = embedded(text)
        events, kinds = found_["events"], found_["kinds"]
        switches = [kind == kinds.index("switch") for kind in events["kind"]]
        assert found_["total"] == len(switches)
        assert sum(switches) == clear.idsw > 0
        assert sum(np.array(events["cost"])[~np.array(switches)]) == clear.fn
        assert scored.scenes.false_positives == clear.fp
        assert all(events["shown"])


@pytest.fixture(scope="module")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium to open pages with")


class TestInABrowser:
    """The page's script does its work: what it made of the data stands in the document."""

    def document(self, browser: str, page: Path, folder: Path, address: str = "") -> Parsed:
        ended = subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={folder / 'profile'}",
                "--virtual-time-budget=2000",
                "--dump-dom",
                page.as_uri() + address,
            ],
            capture_output=True,
            timeout=120,
            check=True,
        )
        return Parsed(ended.stdout.decode())

    def test_the_list_and_the_chosen_error(self, browser: str, tmp_path: Path) -> None:
        scored = one_clip()
        scored.add(true_labels(HOSTILE), results(HOSTILE), the_events(HOSTILE))
        write_page(tmp_path / "page.html", scored.evaluation, scenes=scored.scenes)
        shown = self.document(browser, tmp_path / "page.html", tmp_path, "#event-3")
        assert not shown.named("img")
        rows = [row for row in shown.named("tr") if row.get("tabindex") == "0"]
        assert len(rows) == 6
        assert [row.get("aria-current") for row in rows].index("true") == 2
        (said,) = (text for text in shown.texts if text.startswith("Object "))
        assert said == (
            "Object 1 was not found in frames 11 to 13 (3 boxes missed), last found as 9 before, "
            f"next found as 9. Cause: low score – {ABOUT['low score']}."
        )
        assert "Frame 11 of 20, 1.00 s: missed here" in shown.texts
        assert any(text.startswith("6 errors.") for text in shown.texts)
        assert HOSTILE.strip() in shown.texts
        label = next(c["aria-label"] for c in shown.named("canvas") if c.get("id") == "stage")
        assert label == "Frame 11: 2 true boxes, 1 found"

    def test_what_is_left_out_is_said(self, browser: str, tmp_path: Path) -> None:
        scored = one_clip(Limits(events=2, box_bytes=100))
        write_page(tmp_path / "page.html", scored.evaluation, scenes=scored.scenes)
        texts = self.document(browser, tmp_path / "page.html", tmp_path).texts
        said = "The 2 most costly of 3 errors are listed; 1 are left out. 2 of them come without"
        assert any(text.startswith(said) for text in texts)
        assert "The boxes of this error are left out, to keep the page small." in texts
        # Without an address the most costly error is shown.
        assert any(
            text.startswith("Object 1 was found as 5 up to frame 6, and as 9") for text in texts
        )
