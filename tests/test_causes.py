"""Why a tracker went wrong: events, causes and advice, on planted faults and real results."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail.config import TrackerSettings
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.errors import ConfigError, DataError
from motrail.evaluate.clear import clear
from motrail.evaluate.events import ABOUT, Event
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Score, matched_sequences, read_truth, score
from motrail.evaluate.why.explain import Explanation, explain
from motrail.evaluate.why.find import find_events
from motrail.evaluate.why.motion import Motion
from motrail.evaluate.why.replayed import Agreement, replay_sequence
from motrail.evaluate.why.trial import Material, explain_given, try_settings
from motrail.formats.labels import Labels
from motrail.formats.mot.detections import DetectionFile, read_detections
from motrail.replay import replay
from motrail.track.make import make_tracker
from motrail.types import SequenceDetections
from planted import EXPECTED, IN_LANES, SETTINGS, Name, Planted, plant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from conftest import Prove

    Row = tuple[int, int, float]

MOT17 = Protocol("mot17")


def labels(rows: Sequence[Row], length: int = 10, **rest: Any) -> Labels:
    """Boxes of 20 × 40 from rows of frame, id, left."""
    table = np.array(rows, np.float64).reshape(-1, 3)
    boxes = np.stack(
        [table[:, 2], np.zeros(len(table)), np.full(len(table), 20.0), np.full(len(table), 40.0)],
        axis=1,
    )
    return Labels.of(
        "clip",
        ("car",),
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        boxes,
        np.zeros(len(table), np.int64),
        length=length,
        **rest,
    )


def detections(
    rows: Sequence[tuple[int, float, float]], classes: tuple[str, ...] = ("car",)
) -> DetectionFile:
    """Boxes of 20 × 40 from rows of frame, left, score."""
    table = np.array(rows, np.float64).reshape(-1, 3)
    boxes = np.zeros((len(table), 4))
    boxes[:, 0], boxes[:, 2], boxes[:, 3] = table[:, 1], table[:, 1] + 20, 40
    found = SequenceDetections(table[:, 0].astype(np.int64), boxes, table[:, 2])
    return DetectionFile("clip", classes, found)


def walk(*frames: int, identity: int = 7, left: float = 0) -> list[Row]:
    """An object that goes a pixel to the right each frame."""
    return [(frame, identity, left + frame) for frame in frames]


def causes(
    truth: Labels,
    file: DetectionFile,
    settings: TrackerSettings | None = None,
    results: Labels | None = None,
    protocol: Protocol | None = None,
) -> list[tuple[str, int, int, str | None]]:
    """Kind, start, end and cause of each event."""
    answer = explain(
        [(truth, results)], {"clip": file}, settings or TrackerSettings(), protocol or Protocol()
    )
    return [(e.kind, e.start, e.end, e.cause) for e in answer.events]


# --- events ---------------------------------------------------------------------------------------


class TestEvents:
    def find(self, truth: Sequence[Row], results: Sequence[Row]) -> list[Event]:
        return find_events(labels(truth), labels(results), Protocol())

    def test_none(self) -> None:
        assert self.find(walk(1, 2, 3), walk(1, 2, 3, identity=40)) == []

    def test_a_switch_after_a_break(self) -> None:
        beside = walk(*range(1, 9), identity=60, left=500)
        found = self.find(
            walk(*range(1, 9)), walk(1, 2, 3, identity=40) + walk(6, 7, 8, identity=50) + beside
        )
        one = {"sequence": "clip", "class_name": "car", "truth_id": 7, "result_id": 40}
        assert found == [
            Event(kind="switch", start=3, end=6, new_id=50, boxes=0, **one),  # type: ignore[arg-type]
            Event(kind="fragment", start=4, end=5, new_id=50, boxes=2, **one),  # type: ignore[arg-type]
        ]

    def test_misses_at_both_ends_and_all_along(self) -> None:
        found = self.find(
            walk(*range(1, 8)) + walk(2, 3, identity=8, left=500), walk(3, 4, 5, identity=40)
        )
        assert [(e.truth_id, e.kind, e.start, e.end, e.boxes) for e in found] == [
            (7, "misses", 1, 2, 2),
            (8, "misses", 2, 3, 2),
            (7, "misses", 6, 7, 2),
        ]
        assert [(e.result_id, e.new_id) for e in found] == [(None, 40), (None, None), (40, None)]

    def test_a_pause_of_the_truth_is_a_fragment_without_boxes(self) -> None:
        there = [frame for frame in range(1, 9) if frame not in (4, 5)]
        other = walk(*range(1, 9), identity=8, left=500)
        found = self.find(walk(*there) + other, walk(*there, identity=40) + other)
        assert [(e.kind, e.start, e.end, e.boxes) for e in found] == [("fragment", 4, 5, 0)]

    def test_frames_without_any_result_are_no_fragment(self) -> None:
        """CLEAR, as TrackEval counts it, looks only at frames that have both."""
        found = self.find(walk(*range(1, 8)), walk(1, 2, 3, 6, 7, identity=40))
        assert [(e.kind, e.start, e.end, e.boxes) for e in found] == [("misses", 4, 5, 2)]

    def test_no_results_and_no_truth(self) -> None:
        assert [e.boxes for e in self.find(walk(1, 2, 3), [])] == [3]
        assert self.find([], walk(1, 2, 3)) == []

    @pytest.mark.parametrize("seed", range(40))
    def test_as_many_as_clear_counts(self, seed: int) -> None:
        """Objects in a crowd that come and go, seen by many short tracks."""
        rng = np.random.default_rng(seed)
        rows = [
            (frame, identity, 15.0 * identity + rng.normal(0, 4))
            for frame in range(1, 41)
            for identity in range(6)
            if rng.random() < 0.8
        ]
        found = [
            (frame, identity + 10 * int(rng.integers(3)) + 100, left + rng.normal(0, 4))
            for frame, identity, left in rows
            if rng.random() < 0.8 and frame % 9
        ]
        truth, results = labels(rows, 40), labels(found, 40)
        part = Protocol().count(truth, results, 40)["car"]
        check_counts(find_events(truth, results, Protocol()), clear(part.pairs))


def check_counts(events: Iterable[Event], counted: Any) -> None:
    kinds, boxes = Counter[str](), 0
    for event in events:
        kinds[event.kind] += 1
        boxes += event.boxes
    assert (kinds["switch"], kinds["fragment"], boxes) == (counted.idsw, counted.frag, counted.fn)


@pytest.fixture(scope="module")
def halves(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validation half of MOT17's training sequences."""
    folder = tmp_path_factory.mktemp("mot17")
    import_labels([data / "mot17" / "gt"], folder / "all")
    split_dataset(folder / "all", by="time", val=0.5, gap=0, output=folder / "halves")
    return folder / "halves" / "val"


@pytest.mark.parametrize("setting", ["default", "no_score_fusion"])
def test_as_many_events_as_clear_counts_on_mot17(data: Path, halves: Path, setting: str) -> None:
    results = data / "mot17" / "bytetrack_reference" / setting
    switches = 0
    for truth, found in matched_sequences(results, halves, MOT17, Counter()):
        counted = score(truth, found, MOT17)["pedestrian"].clear
        check_counts(find_events(truth, found, MOT17), counted)
        switches += counted.idsw
    assert switches == {"default": 175, "no_score_fusion": 204}[setting]


# --- causes, by hand ------------------------------------------------------------------------------


class TestCauses:
    """A single car that goes to the right by a pixel a frame."""

    truth = labels(walk(*range(1, 61)), 60)

    def seen(
        self, scores: Mapping[int, float | None], default: float = 0.9, left: float = 0
    ) -> DetectionFile:
        """Frame → score, None for not detected."""
        every = {frame: scores.get(frame, default) for frame in range(1, 61)}
        return detections([(f, left + f, s) for f, s in every.items() if s is not None])

    def test_never_detected(self) -> None:
        found = causes(self.truth, self.seen(dict.fromkeys(range(10, 14))))
        assert found == [("misses", 10, 13, "never detected")]

    @pytest.mark.parametrize(("value", "expected"), [(0.1, "low score"), (0.01, "low score")])
    def test_low_score(self, value: float, expected: str) -> None:
        found = causes(self.truth, self.seen(dict.fromkeys(range(10, 14), value)))
        assert found == [("misses", 10, 13, expected)]

    def test_just_above_the_low_threshold_is_tracked(self) -> None:
        assert causes(self.truth, self.seen(dict.fromkeys(range(10, 14), 0.11))) == []

    def test_weak_start(self) -> None:
        # Confirmed in frame 7: begun in frame 6, the first of 0.7 or more.
        found = causes(self.truth, self.seen(dict.fromkeys(range(1, 6), 0.65)))
        assert found == [("misses", 1, 6, "weak start")]

    def test_confirmed_late(self) -> None:
        found = causes(labels(walk(*range(5, 61)), 60), self.seen(dict.fromkeys(range(1, 5))))
        assert found == [("misses", 5, 5, "confirmed late")]

    def test_weak_return(self) -> None:
        gap = {**dict.fromkeys(range(10, 12)), **dict.fromkeys(range(12, 16), 0.5)}
        assert causes(self.truth, self.seen(gap)) == [("misses", 10, 15, "weak return")]

    @pytest.mark.parametrize(
        ("lost", "expected"),
        [
            (12, [("misses", 10, 21, "never detected")]),
            (
                11,
                [
                    ("switch", 9, 23, "lost too long"),
                    ("misses", 10, 22, "never detected"),
                ],
            ),
        ],
    )
    def test_lost_to_the_frame(self, lost: int, expected: list[Any]) -> None:
        """Twelve missed frames are found again with a buffer of 12, and not with 11."""
        file = self.seen(dict.fromkeys(range(10, 22)))
        assert causes(self.truth, file, TrackerSettings(lost_frames=lost)) == expected

    def test_lost_seconds(self) -> None:
        file = self.seen(dict.fromkeys(range(10, 22)))
        settings = TrackerSettings(lost_seconds=1.1)
        truth = self.truth.replace(frame_rate=10.0)
        answer = explain([(truth, None)], {"clip": file}, settings, Protocol())
        assert [e.cause for e in answer.events] == ["lost too long", "never detected"]
        (advice,) = [a for a in answer.advice if a.cause == "lost too long"]
        assert [str(c) for c in advice.changes] == ["[tracker] lost_seconds 1.1 → 1.2"]
        assert (advice.before, advice.after) == (1, 0)

    def test_not_matched(self) -> None:
        """From frame 20 on the car is 19 pixels farther, which leaves an IoU of 1/39."""
        rows = [(f, 7, f + (19.0 if f >= 20 else 0.0)) for f in range(1, 61)]
        file = detections([(f, left, 0.9) for f, _, left in rows])
        assert causes(labels(rows, 60), file) == [
            ("switch", 19, 21, "not matched"),
            ("misses", 20, 20, "not matched"),
        ]

    def test_taken_over(self) -> None:
        """A car leaves, another stops in its place and gets its track; the first comes back."""
        there = [f for f in range(1, 61) if f < 10 or f >= 20]
        rows = [(f, 7, 0.0 if f < 10 else 300.0) for f in there]
        rows += [(f, 8, 2.0) for f in range(12, 61)]
        file = detections(sorted((f, left, 0.9) for f, _, left in rows))
        (switch,) = [
            e
            for e in explain(
                [(labels(rows, 60), None)], {"clip": file}, TrackerSettings(), Protocol()
            ).events
            if e.kind == "switch"
        ]
        assert (switch.start, switch.end, switch.truth_id) == (9, 21, 7)
        assert (switch.cause, switch.other_id) == ("taken over", 8)

    @pytest.mark.parametrize(
        ("settings", "small"),
        [
            (TrackerSettings(min_box_area=700), (14.0, 40.0)),
            (TrackerSettings(max_aspect_ratio=0.8), (40.0, 40.0)),
        ],
    )
    def test_filtered(self, settings: TrackerSettings, small: tuple[float, float]) -> None:
        """One car of 800 square pixels, and another that is too small or too wide all along."""
        rows = [(f, i, 200.0 * i) for f in range(1, 31) for i in (0, 1)]
        truth = labels(rows, 30)
        truth.boxes_xywh[truth.ids == 1, 2:] = small
        boxes = truth.boxes_xywh.copy()
        boxes[:, 2:] += boxes[:, :2]
        found = SequenceDetections(truth.frames, boxes, np.full(60, 0.9))
        file = DetectionFile("clip", ("car",), found)
        answer = explain([(truth, None)], {"clip": file}, settings, Protocol())
        assert [(e.truth_id, e.start, e.end, e.cause) for e in answer.events] == [
            (1, 1, 30, "filtered")
        ]
        (advice,) = answer.advice
        assert advice.cause == "filtered"
        assert (advice.before, advice.after) == (1, 0)
        assert advice.gain["HOTA"] > 10

    def test_merged(self) -> None:
        """The box of the other car overlaps this one's by 16/24 while its own is missing."""
        truth = labels(walk(*range(1, 31)) + walk(*range(1, 31), identity=8, left=4), 30)
        rows = [(f, float(f), 0.9) for f in range(1, 31)]
        rows += [(f, f + 4.0, 0.9) for f in range(1, 31) if f not in (10, 11)]
        file = detections(sorted(rows))
        assert causes(truth, file) == [("fragment", 10, 11, "merged")]

    def test_wrong_class(self) -> None:
        file = self.seen({})
        kinds = np.where(np.isin(file.detections.frames, [10, 11, 12]), 1, 0)
        found = SequenceDetections(
            file.detections.frames, file.detections.boxes_xyxy, file.detections.scores, kinds
        )
        file = DetectionFile("clip", ("car", "van"), found)
        truth = self.truth.replace(classes=("car", "van"))
        answer = explain([(truth, None)], {"clip": file}, TrackerSettings(), Protocol())
        assert [(e.start, e.end, e.cause) for e in answer.events] == [(10, 12, "wrong class")]
        assert answer.advice[0].changes[0][1:] == ("class_mode", "separate", "vote")
        ignoring = TrackerSettings(class_mode="ignore")
        assert causes(truth, file, ignoring) == [("misses", 10, 12, "wrong class")]
        mixed = Protocol(class_aware=False)
        assert causes(truth, file, ignoring, protocol=mixed) == []

    def test_box_off(self) -> None:
        """Tracked on boxes 7 pixels off, whose IoU 13/27 is too small."""
        assert causes(self.truth, self.seen({}, left=7)) == [("misses", 1, 60, "never detected")]
        file = self.seen({})
        boxes = file.detections.boxes_xyxy.copy()
        # The filter holds the box back when the width jumps, and only the detection fits.
        wide = file.detections.frames >= 30
        boxes[wide, 2] += 25
        truth = labels(walk(*range(1, 61)), 60)
        truth.boxes_xywh[truth.frames >= 30, 2] += 25
        found = SequenceDetections(file.detections.frames, boxes, file.detections.scores)
        settings = TrackerSettings(match_threshold=0.9)
        answer = causes(truth, DetectionFile("clip", ("car",), found), settings)
        assert [(kind, start, cause) for kind, start, _, cause in answer] == [
            ("fragment", 30, "box off")
        ]

    def test_a_pause_of_the_labels(self) -> None:
        rows = [row for row in walk(*range(1, 31)) if row[0] not in (10, 11)]
        rows += walk(*range(1, 31), identity=8, left=500)
        found = [(f, left, 0.9) for f, _, left in rows]
        answer = causes(labels(rows, 30), detections(sorted(found)))
        assert answer == [("fragment", 10, 11, "not labelled")]

    def test_names_of_classes_are_joined(self) -> None:
        file = dataclasses.replace(self.seen({}), classes=("auto",))
        assert causes(self.truth, file, protocol=Protocol(names={"auto": "car"})) == []

    def test_every_cause_is_explained(self) -> None:
        assert set(ABOUT) >= {cause for _, cause in EXPECTED.values()}


class TestCamera:
    """Five objects far apart; one to explain, four to witness."""

    def motion(self, lefts: Mapping[int, list[float]]) -> Motion:
        rows = [
            (frame, identity, left)
            for identity, path in lefts.items()
            for frame, left in enumerate(path, start=1)
        ]
        return Motion(labels(rows, 30))

    def paths(self, *jumps: float, speed: float = 0, count: int = 20) -> Motion:
        """Objects that go on steadily and jump in frame 11."""
        return self.motion(
            {
                identity: [
                    500.0 * identity + speed * frame + (jump if frame >= 10 else 0)
                    for frame in range(count)
                ]
                for identity, jump in enumerate(jumps)
            }
        )

    def test_all_jump(self) -> None:
        motion = self.paths(15, 15, 15, 15, 15)
        assert motion.camera_moved(0, 10, 11)
        assert motion.camera_moved(0, 8, 13)

    def test_not_before_and_not_after(self) -> None:
        motion = self.paths(15, 15, 15, 15, 15)
        assert not motion.camera_moved(0, 9, 10)
        assert not motion.camera_moved(0, 11, 12)

    def test_one_alone(self) -> None:
        motion = self.paths(15, 0, 0, 0, 0)
        assert not motion.camera_moved(0, 10, 11)

    def test_all_but_one(self) -> None:
        """It holds for a car that stood still in the picture, as one that goes with the camera."""
        assert self.paths(0, 15, 15, 15, 15).camera_moved(0, 10, 11)

    def test_objects_that_scatter(self) -> None:
        assert not self.paths(15, 15, -15, 15, -15).camera_moved(0, 10, 11)

    def test_a_steady_pan_is_expected(self) -> None:
        assert not self.paths(0, 0, 0, 0, 0, speed=15).camera_moved(0, 10, 11)

    def test_a_small_shake(self) -> None:
        """4 pixels of 20 leave an IoU of 16/24, 6 leave 14/26."""
        assert not self.paths(4, 4, 4, 4, 4).camera_moved(0, 10, 11)
        assert self.paths(6, 6, 6, 6, 6).camera_moved(0, 10, 11)

    def test_too_few_witnesses(self) -> None:
        assert not self.paths(15, 15, 15).camera_moved(0, 10, 11)
        assert self.paths(15, 15, 15, 15).camera_moved(0, 10, 11)

    def test_nothing_labelled(self) -> None:
        assert not Motion(labels([])).camera_moved(0, 1, 2)


class TestLabels:
    def motion(self, one: list[float], other: list[float]) -> Motion:
        rows = [(f, 1, left) for f, left in enumerate(one, start=1)]
        return Motion(labels(rows + [(f, 2, left) for f, left in enumerate(other, start=1)], 30))

    def test_exchanged(self) -> None:
        a, b = [float(f) for f in range(20)], [30.0 + f for f in range(20)]
        motion = self.motion(a[:10] + b[10:], b[:10] + a[10:])
        assert motion.exchanged(1, 2, 11)
        assert motion.exchanged(1, 2, 20)
        assert not motion.exchanged(1, 2, 10)

    def test_objects_that_pass_each_other(self) -> None:
        there, back = [3.0 * f for f in range(20)], [60.0 - 3 * f for f in range(20)]
        assert not any(self.motion(there, back).exchanged(1, 2, end) for end in range(1, 21))

    def test_objects_that_turn_back(self) -> None:
        left = [30.0 - 3 * abs(f - 10) for f in range(20)]
        right = [34.0 + 3 * abs(f - 10) for f in range(20)]
        assert not any(self.motion(left, right).exchanged(1, 2, end) for end in range(1, 21))


# --- planted faults -------------------------------------------------------------------------------


def name_planted(seeds: Iterable[int]) -> dict[Name, Counter[str]]:
    """Causes that planted faults were given, by fault."""
    named: dict[Name, Counter[str]] = {name: Counter() for name in EXPECTED}
    for seed in seeds:
        # Where the camera moves, it moves for all.
        sequence = plant(seed, IN_LANES if seed % 6 else ("camera moved",))
        events = explained(sequence)
        for fault in sequence.plants:
            for event in fault.events(events):
                named[fault.name][str(event.cause)] += 1
    return named


def explained(sequence: Planted, settings: TrackerSettings = SETTINGS) -> list[Event]:
    material = Material(sequence.truth, None, sequence.file, Motion(sequence.truth))
    return [e.event for e in try_settings([material], settings, Protocol()).explained]


def check_planted(named: dict[Name, Counter[str]], least: int, prove: Prove) -> None:
    right = total = 0
    for name, found in named.items():
        count, good = found.total(), found[EXPECTED[name][1]]
        wrong = {cause: n for cause, n in found.items() if cause != EXPECTED[name][1]}
        prove(f"planted: {name}", "90 % named right", f"{good} of {count} {wrong or ''}")
        right, total = right + good, total + count
    prove("planted: all", "95 % named right", f"{right} of {total}")
    for name, found in named.items():
        assert found.total() >= least, name
        assert found[EXPECTED[name][1]] >= 0.9 * found.total(), (name, found)
    assert right >= 0.95 * total


def test_planted_faults_are_named(prove: Prove) -> None:
    check_planted(name_planted(range(1000, 1016)), 30, prove)


@pytest.mark.proof
def test_two_hundred_planted_faults_of_each_kind_are_named(prove: Prove) -> None:
    check_planted(name_planted(range(2000, 2100)), 200, prove)


REMEDIES: list[tuple[Name, str]] = [
    ("low score", "low_threshold"),
    ("weak start", "new_track_threshold"),
    ("weak return", "high_threshold"),
    ("lost too long", "lost_frames"),
    ("filtered", "min_box_area"),
    ("not matched", "match_threshold"),
    ("camera moved", "match_threshold"),
    ("wrong class", "class_mode"),
    ("never detected", "max_gap"),
]


@pytest.mark.parametrize(("name", "setting"), REMEDIES)
def test_what_is_advised_mends_planted_faults(name: Name, setting: str, prove: Prove) -> None:
    # Boxes of 50 pixels that jump by 33 to 37 are within reach of a larger threshold.
    sequence = plant(7, (name,), jump=(33, 37), lanes=5)
    answer = explain_one(sequence.truth, sequence.file)
    of_it = [a for a in answer.advice if setting in [c.setting for c in a.changes]]
    advice = min(of_it, key=lambda a: len(a.changes))
    assert advice.helps
    if advice.cause is not None:
        assert advice.cause == EXPECTED[name][1]
    assert advice.after < advice.before / 2
    tracker: dict[str, Any] = {
        c.setting: c.advised for c in advice.changes if c.section == "tracker"
    }
    if tracker:
        gain = hota(sequence, dataclasses.replace(SETTINGS, **tracker)) - hota(sequence, SETTINGS)
        assert gain == pytest.approx(advice.gain["HOTA"], abs=1e-9)
        prove(f"advised for {name}", "HOTA rises", f"{advice.changes[0]}: {gain:+.2f}")


def explain_one(truth: Labels, file: DetectionFile, results: Labels | None = None) -> Explanation:
    return explain([(truth, results)], {truth.name: file}, SETTINGS, Protocol())


def hota(sequence: Planted, settings: TrackerSettings) -> float:
    results = replay_sequence(sequence.truth, sequence.file, settings).results
    parts = score(sequence.truth, results, Protocol())
    return Score.combined(list(parts.values())).as_dict()["HOTA"]


# --- the whole ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(3, lanes=5)


@pytest.fixture(scope="module")
def answer(planted: Planted) -> Explanation:
    return explain_one(planted.truth, planted.file)


class TestExplanation:
    def test_of_the_replay(self, planted: Planted, answer: Explanation) -> None:
        assert answer.agreement is None
        assert all(event.cause in ABOUT for event in answer.events)
        results = replay_sequence(planted.truth, planted.file, SETTINGS).results
        bare = find_events(planted.truth, results, Protocol())
        unnamed = [dataclasses.replace(e, cause=None, other_id=None) for e in answer.events]
        assert unnamed == bare
        score_ = Score.combined(list(score(planted.truth, results, Protocol()).values())).as_dict()
        assert answer.metrics == {name: score_[name] for name in ("HOTA", "IDF1", "MOTA")}

    def test_counts(self, answer: Explanation) -> None:
        assert sum(count.events for count in answer.causes) == len(answer.events)
        for cause, events, switches, boxes in answer.causes:
            mine = [event for event in answer.events if event.cause == cause]
            assert events == len(mine)
            assert switches == sum(event.kind == "switch" for event in mine)
            assert boxes == sum(event.boxes for event in mine)
        costs = [count.boxes + count.switches for count in answer.causes]
        assert costs == sorted(costs, reverse=True)

    def test_advice_is_sorted_and_helps(self, answer: Explanation) -> None:
        gains = [advice.gain["HOTA"] for advice in answer.advice]
        assert gains == sorted(gains, reverse=True)
        assert all(gain > 0.01 for gain in gains)
        assert len(answer.advice) + len(answer.tried) <= 12
        changes = [advice.changes for advice in (*answer.advice, *answer.tried)]
        assert len(set(changes)) == len(changes)

    def test_what_no_setting_mends(self, answer: Explanation) -> None:
        hints = {hint.cause: hint.text for hint in answer.hints}
        assert hints["never detected"].startswith("no setting of the tracker finds what was not")
        assert hints["label fault"] == "look at these frames and mend the labels"

    def test_json(self, answer: Explanation) -> None:
        document = json.loads(json.dumps(answer.as_dict()))
        assert document["events"][0].keys() >= {"sequence", "kind", "start", "end", "cause"}
        assert document["causes"][0].keys() == {"cause", "events", "switches", "boxes", "about"}
        assert document["advice"][0].keys() == {
            *("changes", "cause", "gain", "before", "after", "text")
        }
        assert document["agreement"] is None

    def test_twice_the_same_and_inputs_stay(self, planted: Planted, answer: Explanation) -> None:
        told: list[tuple[str, int, int | None]] = []
        before = planted.truth.boxes_xywh.copy()
        again = explain(
            [(planted.truth, None)],
            {planted.truth.name: planted.file},
            SETTINGS,
            Protocol(),
            progress=lambda what, done, total: told.append((what, done, total)),
        )
        assert again == answer
        assert np.array_equal(planted.truth.boxes_xywh, before)
        count = len(told)
        assert count > 3
        assert told == [("trying settings", n, count) for n in range(1, count + 1)]


@pytest.mark.parametrize("row", [10, 500, 1500])
@pytest.mark.parametrize("setting", ["min_box_area", "max_aspect_ratio"])
def test_filters_are_those_of_the_tracker(planted: Planted, row: int, setting: str) -> None:
    """Also where a limit is just the size of a box."""
    bare = dataclasses.replace(SETTINGS, min_box_area=0)
    tracks = replay_sequence(planted.truth, planted.file, bare).tracks
    width, height = np.float64(tracks.boxes_xyxy[row, 2:]) - tracks.boxes_xyxy[row, :2]
    limit = width * height if setting == "min_box_area" else width / height
    settings = with_limit(bare, setting, float(limit))
    given = replay(planted.file.detections, make_tracker(settings, 25), planted.truth.length)
    replayed = replay_sequence(planted.truth, planted.file, settings)
    assert 0 < len(given) < len(tracks)
    assert replayed.tracks[replayed.shown] == given


def with_limit(settings: TrackerSettings, setting: str, limit: float) -> TrackerSettings:
    changed: dict[str, Any] = {setting: limit}
    return dataclasses.replace(settings, **changed)


def given(sequence: Planted, results: Labels) -> tuple[list[Event], Agreement]:
    """Events of results, without advice."""
    material = Material(sequence.truth, results, sequence.file, Motion(sequence.truth))
    explained_, agreement = explain_given([material], SETTINGS, Protocol())
    return [e.event for e in explained_], agreement


class TestResults:
    """Results are explained by a replay that gives the same boxes."""

    def results(self, planted: Planted, settings: TrackerSettings = SETTINGS) -> Labels:
        return replay_sequence(planted.truth, planted.file, settings).results

    def test_under_other_ids_and_rounded(self, planted: Planted, answer: Explanation) -> None:
        results = self.results(planted)
        renamed = results.replace(
            ids=1000 - results.ids, boxes_xywh=np.round(results.boxes_xywh, 1)
        )[np.random.default_rng(1).permutation(len(results))]
        events, agreement = given(planted, renamed)
        assert agreement.as_dict() == {
            "results": len(results),
            "replayed": len(results),
            "same": len(results),
            "differ": 0,
            "difference": 0.0,
        }
        assert [(e.start, e.end, e.truth_id, e.cause) for e in events] == [
            (e.start, e.end, e.truth_id, e.cause) for e in answer.events
        ]
        back = [1000 - e.result_id if e.result_id else None for e in events]
        assert back == [e.result_id for e in answer.events]

    def test_a_few_boxes_may_differ(self, planted: Planted) -> None:
        results = self.results(planted)
        some = results[np.arange(len(results)) % 50 != 0]
        _, found = given(planted, some)
        left_out = (len(results) + 49) // 50
        assert (found.results, found.differ) == (len(results) - left_out, left_out)

    def test_other_settings(self, planted: Planted) -> None:
        other = dataclasses.replace(SETTINGS, high_threshold=0.93, new_track_threshold=0.93)
        with pytest.raises(DataError) as caught:
            explain_one(planted.truth, planted.file, self.results(planted, other))
        message = str(caught.value)
        assert message.startswith("planted-3: ")
        assert "% of the boxes differ between the results and a replay of the detections" in message
        assert "Give the [tracker] settings that made them, by --config or flags" in message

    def test_no_results_at_all(self, planted: Planted) -> None:
        nothing = self.results(planted)[:0]
        with pytest.raises(DataError, match=r"100\.0% of the boxes differ"):
            explain_one(planted.truth, planted.file, nothing)


class TestBadInput:
    truth = labels(walk(*range(1, 11)), 10)
    file = detections([(f, float(f), 0.9) for f in range(1, 11)])

    def explain(
        self, truth: Labels, file: DetectionFile, settings: TrackerSettings | None = None
    ) -> Explanation:
        return explain(
            [(truth, None)], {file.name: file}, settings or TrackerSettings(), Protocol()
        )

    def test_a_sequence_without_detections(self) -> None:
        with pytest.raises(DataError) as caught:
            self.explain(self.truth, dataclasses.replace(self.file, name="other"))
        assert str(caught.value) == (
            "clip: expected detections of this sequence, found those of other"
        )

    def test_detections_beyond_the_end(self) -> None:
        with pytest.raises(DataError) as caught:
            self.explain(self.truth, detections([(11, 0.0, 0.9)]))
        assert str(caught.value) == (
            "clip: expected detections of frames 1 to 10, found 11; are these detections of the "
            "whole sequence, or of another one?"
        )

    def test_other_classes(self) -> None:
        with pytest.raises(DataError) as caught:
            self.explain(self.truth, dataclasses.replace(self.file, classes=("auto",)))
        assert str(caught.value) == (
            "expected results of the classes of the truth (car), found auto; --map auto=NAME tells "
            "what belongs together"
        )

    def test_seconds_without_a_frame_rate(self) -> None:
        with pytest.raises(ConfigError, match="lost_seconds: needs frame_rate"):
            self.explain(self.truth, self.file, TrackerSettings(lost_seconds=1))

    def test_nothing_labelled(self) -> None:
        with pytest.raises(DataError, match="expected labels to explain results by, found none"):
            self.explain(labels([]), self.file)

    def test_nothing_detected(self) -> None:
        answer = self.explain(self.truth, detections([]))
        assert [(e.start, e.end, e.cause) for e in answer.events] == [(1, 10, "never detected")]
        assert (answer.advice, answer.tried) == ([], [])

    def test_nothing_wrong(self) -> None:
        answer = self.explain(self.truth, self.file)
        assert (answer.events, answer.causes, answer.advice, answer.tried) == ([], [], [], [])

    def test_unknown_ids_and_boxes_without_size(self) -> None:
        rows = [(f, -1, float(f)) for f in range(1, 11)]
        file = detections([(f, float(f), 0.9) for f in range(1, 11)])
        boxes = file.detections.boxes_xyxy.copy()
        boxes[3:5, 2] = boxes[3:5, 0]
        flat = SequenceDetections(file.detections.frames, boxes, file.detections.scores)
        answer = self.explain(labels(rows), DetectionFile("clip", ("car",), flat))
        assert [(e.start, e.end, e.cause) for e in answer.events] == [(4, 5, "never detected")]


@pytest.mark.parametrize("seed", range(6))
def test_any_settings_in_any_scene(seed: int) -> None:
    """Every event is counted and named, and the replay's own results are explained alike."""
    rng = np.random.default_rng(seed)
    truth, file = tangle(rng)
    settings = TrackerSettings(
        high_threshold=rng.uniform(0.3, 0.9),
        low_threshold=rng.uniform(0, 0.3),
        new_track_threshold=rng.uniform(0.2, 1),
        match_threshold=rng.uniform(0.3, 1),
        lost_frames=int(rng.integers(0, 20)),
        lost_seconds=0.4 if seed % 2 else None,
        class_mode=("separate", "vote", "ignore")[seed % 3],
        min_box_area=600.0 * (seed % 2),
        max_aspect_ratio=None if seed % 3 else 0.6,
    )
    protocol = Protocol(class_aware=bool(seed % 4))
    answer = explain([(truth, None)], {"clip": file}, settings, protocol)
    results = replay_sequence(truth, file, settings).results
    parts = list(score(truth, results, protocol).values())
    check_counts(answer.events, Score.combined(parts).clear)
    assert all(event.cause not in (None, "unknown") for event in answer.events)
    again = explain([(truth, results)], {"clip": file}, settings, protocol)
    assert again.events == answer.events
    assert again.agreement is not None
    assert again.agreement.differ == 0


def tangle(rng: np.random.Generator) -> tuple[Labels, DetectionFile]:
    """Objects of two classes with huge ids that go through each other, badly detected."""
    frames, ids = (grid.ravel() for grid in np.meshgrid(np.arange(1, 31), np.arange(5)))
    classes = ids % 2
    boxes = np.stack(
        [*(rng.uniform(0, 200, (2, 5))[:, ids]), *(rng.uniform(15, 60, (2, 5))[:, ids])], axis=1
    )
    boxes[:, :2] += rng.normal(0, 4, (5, 2))[ids] * frames[:, None]
    boxes[:, :2] += rng.normal(0, 2, boxes[:, :2].shape)
    seen = np.flatnonzero(rng.random(len(ids)) < 0.8)
    seen = seen[np.argsort(frames[seen], kind="stable")]
    found = boxes[seen].copy()
    found[:, 2:] *= rng.random((len(seen), 1)) > 0.01
    found[:, 2:] += found[:, :2]
    guessed = np.where(rng.random(len(seen)) < 0.1, 1 - classes[seen], classes[seen])
    detections_ = SequenceDetections(frames[seen], found, rng.random(len(seen)) ** 0.4, guessed)
    rows = rng.permutation(np.flatnonzero(rng.random(len(ids)) < 0.9))
    truth = Labels.of(
        "clip",
        ("car", "van"),
        frames[rows],
        ids[rows] + 10**15,
        boxes[rows],
        classes[rows],
        ignore=rng.random(len(rows)) < 0.1,
        length=30,
        frame_rate=25.0,
    )
    return truth, DetectionFile("clip", ("car", "van"), detections_)


# --- real detections ------------------------------------------------------------------------------


def mot17_detections(data: Path, truth: Mapping[str, Labels]) -> dict[str, DetectionFile]:
    """The detections of the validation half, its frames numbered from 1."""
    files = {}
    for file in read_detections(data / "mot17" / "detections"):
        info = (data / "mot17" / "gt" / file.name / "seqinfo.ini").read_text()
        whole = next(int(line.split("=")[1]) for line in info.split() if "seqLength" in line)
        found = file.detections[file.detections.frames > whole // 2 + 1]
        frames = found.frames - (whole // 2 + 1)
        assert frames[-1] <= truth[file.name].length
        files[file.name] = dataclasses.replace(
            file,
            detections=SequenceDetections(frames, found.boxes_xyxy, found.scores, found.class_ids),
        )
    return files


@pytest.mark.proof
def test_mot17_is_explained(data: Path, halves: Path, prove: Prove) -> None:
    """The published results, explained by the detections that they were made from."""
    truth = {labels_.name: labels_ for labels_ in read_truth(halves)}
    reference = data / "mot17" / "bytetrack_reference" / "default"
    sequences = matched_sequences(reference, halves, MOT17, Counter())
    # The reference's thresholds for the scores, written to two places.
    settings = TrackerSettings(match_threshold=0.9)
    answer = explain(sequences, mot17_detections(data, truth), settings, MOT17)
    assert answer.agreement is not None
    assert answer.agreement.difference < 0.001
    assert answer.metrics["HOTA"] == pytest.approx(67.955, abs=0.0005)
    kinds = Counter(event.kind for event in answer.events)
    assert kinds["switch"] == 175
    unknown = sum(event.cause == "unknown" for event in answer.events)
    assert unknown < 0.01 * len(answer.events)
    for count in answer.causes:
        measured = f"{count.events} events, {count.switches} switches, {count.boxes} boxes"
        prove(f"mot17: {count.cause}", "", measured)
    for advice in answer.advice:
        prove("mot17: advised", "", f"{advice.changes[0]}: {advice.gain}")
    # Published: filling gaps of up to 20 frames gives MOTA 1.7 points, IDF1 0.9.
    best = answer.advice[0]
    assert best.changes[0].setting == "max_gap"
    assert best.gain["MOTA"] == pytest.approx(1.7, abs=0.4)
