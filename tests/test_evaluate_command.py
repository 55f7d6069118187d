"""`motrail evaluate`: which boxes count, and what is printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from commands import Call, Result, caller
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "evaluate")


@pytest.fixture(scope="module")
def halves(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validation half of MOT17's training sequences."""
    folder = tmp_path_factory.mktemp("mot17")
    import_labels([data / "mot17" / "gt"], folder / "all")
    split_dataset(folder / "all", by="time", val=0.5, gap=0, output=folder / "halves")
    return folder / "halves" / "val"


def document(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    answer: dict[str, Any] = json.loads(result.out)
    return answer


@pytest.mark.parametrize(
    ("setting", "figures"),
    [
        ("default", {"HOTA": 67.955, "IDF1": 80.053, "MOTA": 77.755, "IDSW": 175}),
        ("no_score_fusion", {"HOTA": 67.848, "IDF1": 79.800, "MOTA": 77.823, "IDSW": 204}),
    ],
)
def test_the_figures_of_trackeval(
    call: Call, data: Path, halves: Path, setting: str, figures: dict[str, float]
) -> None:
    """Of the published tracker's answers on MOT17's validation half."""
    results = data / "mot17" / "bytetrack_reference" / setting
    answer = document(call(results, "--truth", halves, "--protocol", "mot17", "--json"))
    assert answer["protocol"] == "mot17"
    assert len(answer["sequences"]) == 7
    found = {key: answer["combined"][key] for key in figures}
    assert found == pytest.approx(figures, abs=0.0005)


# Two cars and a van for four frames; the second car is to be ignored.
TRUTH = "".join(
    f"{n},{id_},{10 * n},{top},20,20,{active},{class_},1\n"
    for n in range(1, 5)
    for id_, top, active, class_ in ((1, 10, 1, 1), (2, 60, 0, 1), (3, 120, 1, 2))
)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "truth" / "clip" / "gt").mkdir(parents=True)
    (tmp_path / "truth" / "labels.txt").write_text("car\nvan\nbus\n")
    (tmp_path / "truth" / "clip" / "gt" / "gt.txt").write_text(TRUTH)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels.txt").write_text("van\ncar\n")
    return tmp_path


def results(scene: Path, *objects: tuple[int, int, int]) -> None:
    """Tracks of four frames: id, top, class."""
    rows = [
        f"{n},{id_},{10 * n},{top},20,20,0.9,{class_},-1\n"
        for id_, top, class_ in objects
        for n in range(1, 5)
    ]
    (scene / "out" / "clip.txt").write_text("".join(rows))


class TestClasses:
    def test_perfect(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2), (8, 120, 1))
        answer = document(call("out", "--truth", "truth", "--json"))
        assert answer["classes"].keys() == {"car", "van"}
        for score in (answer["combined"], *answer["classes"].values()):
            assert [score[key] for key in ("HOTA", "MOTA", "IDF1")] == pytest.approx([100] * 3)

    def test_what_is_to_be_ignored_is_neither_right_nor_wrong(
        self, call: Call, scene: Path
    ) -> None:
        results(scene, (7, 10, 2), (9, 60, 2), (8, 120, 1))
        combined = document(call("out", "--truth", "truth", "--json"))["combined"]
        assert (combined["CLR_FP"], combined["CLR_FN"]) == (0, 0)

    def test_a_wrong_class_is_wrong_twice(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2), (8, 120, 2))
        answer = document(call("out", "--truth", "truth", "--json"))
        assert (answer["classes"]["car"]["CLR_FP"], answer["classes"]["van"]["CLR_FN"]) == (4, 4)
        assert answer["combined"]["MOTA"] == pytest.approx(0)

    def test_a_class_found_that_is_not_there(self, call: Call, scene: Path) -> None:
        (scene / "out" / "labels.txt").write_text("van\nbus\n")
        results(scene, (7, 10, 2))
        answer = document(call("out", "--truth", "truth", "--json"))
        assert answer["classes"]["bus"]["CLR_FP"] == 4

    def test_nothing_found_scores_nothing(self, call: Call, scene: Path) -> None:
        (scene / "out" / "clip.txt").write_text("")
        combined = document(call("out", "--truth", "truth", "--json"))["combined"]
        assert [combined[key] for key in ("HOTA", "MOTA", "IDF1")] == [0, 0, 0]
        assert combined["CLR_FN"] == 8

    def test_results_that_touch_nothing(self, call: Call, scene: Path) -> None:
        results(scene, (7, 500, 2))
        combined = document(call("out", "--truth", "truth", "--json"))["combined"]
        assert [combined[key] for key in ("HOTA", "IDF1", "LocA")] == [0, 0, 100]
        assert (combined["MOTA"], combined["CLR_FP"]) == (-50, 4)

    def test_table(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2), (8, 120, 1))
        lines = call("out", "--truth", "truth").out.splitlines()
        assert lines[0].split() == "sequence HOTA DetA AssA MOTA IDF1 IDSW FP FN".split()  # noqa: SIM905
        assert lines[1].split() == ["clip", *["100.00"] * 5, "0", "0", "0"]
        assert [line.split()[0] for line in lines[2:]] == ["combined", "class", "class", "protocol"]

    def test_an_object_may_change_its_class(self, call: Call, scene: Path) -> None:
        """As with a tracker that takes the class of the detection."""
        results(scene, (7, 10, 2), (8, 120, 1))
        path = scene / "out" / "clip.txt"
        path.write_text(path.read_text().replace("4,7,40,10,20,20,0.9,2", "4,7,40,10,20,20,0.9,1"))
        answer = document(call("out", "--truth", "truth", "--json"))
        assert (answer["classes"]["car"]["CLR_FN"], answer["classes"]["van"]["CLR_FP"]) == (1, 1)

    def test_frames_that_nobody_labelled_do_not_count(self, call: Call, scene: Path) -> None:
        """A dataset with pictures of some frames only has nothing to say of the others."""
        results(scene, (7, 10, 2), (8, 120, 1))
        sequence = scene / "truth" / "clip"
        (sequence / "img1").mkdir()
        for number in (1, 3):
            (sequence / "img1" / f"{number:06}.jpg").touch()
        rows = "".join(line for line in TRUTH.splitlines(keepends=True) if line[0] in "13")
        (sequence / "gt" / "gt.txt").write_text(rows)
        (sequence / "seqinfo.ini").write_text("[Sequence]\nname=clip\nseqLength=4\n")
        answer = document(call("out", "--truth", "truth", "--json"))
        assert answer["combined"]["CLR_FP"] == 0
        assert answer["notes"] == {"clip: has 2 of 4 frames, which alone count": 1}


class TestNames:
    """Classes of results and truth are joined by name."""

    def test_names_that_differ(self, call: Call, scene: Path) -> None:
        (scene / "out" / "labels.txt").write_text("lorry\nauto\n")
        results(scene, (7, 10, 2), (8, 120, 1))
        words = ("out", "--truth", "truth", "--json", "--map", "auto=car", "--map", "lorry=van")
        assert document(call(*words))["combined"]["HOTA"] == pytest.approx(100)

    def test_a_class_that_the_truth_does_not_know(self, call: Call, scene: Path) -> None:
        (scene / "out" / "labels.txt").write_text("van\ncar\ndog\n")
        results(scene, (7, 10, 2), (8, 120, 1), (9, 300, 3))
        result = call("out", "--truth", "truth", "--json")
        answer = document(result)
        assert answer["combined"]["CLR_FP"] == 0
        note = "dog: is no class of the truth, and does not count; --map dog=… may help"
        assert answer["notes"] == {note: 1}
        assert f"note: {note}" in call("out", "--truth", "truth").err

    def test_no_class_that_the_truth_knows(self, call: Call, scene: Path) -> None:
        (scene / "out" / "labels.txt").write_text("dog\ncat\n")
        results(scene, (7, 10, 2))
        code, _, err = call("out", "--truth", "truth")
        assert code == 1
        assert (
            "expected results of the classes of the truth (car, van, bus), found cat; "
            "--map cat=NAME tells what belongs together" in err
        )

    def test_a_map_that_is_none(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2))
        code, _, err = call("out", "--truth", "truth", "--map", "car")
        assert code == 2
        assert "--map: expected NAME=NAME as in person=pedestrian, found 'car'" in err
        code, _, err = call("out", "--truth", "truth", "--map", "a=car", "--map", "a=van")
        assert (code, "expected one name for 'a', found 'car' and 'van'" in err) == (2, True)

    def test_classes_as_one(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 1), (8, 120, 2))  # each is given the other's class
        aware = document(call("out", "--truth", "truth", "--json"))
        answer = document(call("out", "--truth", "truth", "--json", "--agnostic"))
        assert (aware["class_aware"], answer["class_aware"]) == (True, False)
        assert (aware["combined"]["HOTA"], answer["combined"]["HOTA"]) == (0, pytest.approx(100))
        assert answer["classes"].keys() == {"all classes"}
        assert (
            "protocol classes, all classes as one"
            in call("out", "--truth", "truth", "--agnostic").out
        )

    def test_mot17_scores_pedestrians_and_does_not_mix(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 1))
        code, _, err = call("out", "--truth", "truth", "--protocol", "mot17", "--agnostic")
        assert (code, "classes cannot be mixed" in err) == (2, True)

    def test_mot17_takes_the_pedestrians_of_several_classes(self, call: Call, scene: Path) -> None:
        (scene / "truth" / "labels.txt").write_text("pedestrian\ncar\n")
        (scene / "out" / "labels.txt").write_text("car\nperson\n")
        results(scene, (7, 10, 2), (8, 120, 1))
        words = ("out", "--truth", "truth", "--protocol", "mot17", "--json")
        code, _, err = call(*words)
        assert (code, "expected results of the classes of the truth (pedestrian)" in err) == (
            1,
            True,
        )
        answer = document(call(*words, "--map", "person=pedestrian"))
        assert (answer["combined"]["CLR_TP"], answer["combined"]["CLR_FP"]) == (4, 0)


class TestSure:
    """Intervals over sequences, and other results to compare with."""

    @pytest.fixture
    def two(self, scene: Path) -> Path:
        """Two sequences; `out` finds all of them, `worse` half."""
        results(scene, (7, 10, 2), (8, 120, 1))
        (scene / "truth" / "second" / "gt").mkdir(parents=True)
        (scene / "truth" / "second" / "gt" / "gt.txt").write_text(TRUTH)
        (scene / "worse").mkdir()
        (scene / "worse" / "labels.txt").write_text("van\ncar\n")
        text = (scene / "out" / "clip.txt").read_text()
        (scene / "out" / "second.txt").write_text(text)
        half = "".join(line for line in text.splitlines(keepends=True) if line[0] in "12")
        for name in ("clip", "second"):
            (scene / "worse" / f"{name}.txt").write_text(half)
        return scene

    def test_better_and_worse(self, call: Call, two: Path) -> None:
        answer = document(call("out", "--truth", "truth", "--against", "worse", "--json"))
        by_metric = {found["metric"]: found for found in answer["against"]}
        assert by_metric["MOTA"] == {
            "metric": "MOTA", "ours": 100, "theirs": 50, "difference": 50, "low": 50, "high": 50,
            "verdict": "better",
        }  # fmt: skip
        assert by_metric["IDSW"]["verdict"] == "the same"
        assert answer["intervals"]["MOTA"] == [100, 100]
        lines = call("worse", "--truth", "truth", "--against", "out").out.splitlines()
        assert lines[-3].split() == ["MOTA", "50.00", "100.00", "-50.00", "-50.00", "to", "-50.00",
                                     "worse"]  # fmt: skip

    def test_one_sequence_has_no_interval(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2), (8, 120, 1))
        answer = document(call("out", "--truth", "truth", "--against", "out", "--json"))
        assert answer["intervals"] == {}
        assert {found["verdict"] for found in answer["against"]} == {"not known"}


class TestBadInput:
    def test_results_of_another_dataset(self, call: Call, scene: Path) -> None:
        (scene / "out" / "other.txt").write_text("1,1,1,1,9,9,0.9,1,-1\n")
        code, _, err = call("out", "--truth", "truth")
        assert code == 1
        assert "expected results of the sequences of truth (clip), found those of other" in err

    def test_frames_beyond_the_end(self, call: Call, scene: Path) -> None:
        (scene / "out" / "clip.txt").write_text("5,1,1,1,9,9,0.9,1,-1\n")
        code, _, err = call("out", "--truth", "truth")
        assert code == 1
        assert "expected frames 1 to 4 of 'clip', found 5" in err

    def test_an_id_twice_in_a_frame(self, call: Call, scene: Path) -> None:
        (scene / "out" / "clip.txt").write_text("1,1,1,1,9,9,0.9,1,-1\n" * 2)
        code, _, err = call("out", "--truth", "truth")
        assert code == 1
        assert "clip.txt:2: expected object 1 once in frame 1, found it again" in err

    def test_no_pedestrians_for_mot17(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2))
        code, _, err = call("out", "--truth", "truth", "--protocol", "mot17")
        assert code == 1
        assert "expected the classes of MOT17, found car, van, bus; use --protocol classes" in err

    def test_missing_and_surplus_sequences_are_told(self, call: Call, scene: Path) -> None:
        results(scene, (7, 10, 2), (8, 120, 1))
        (scene / "out" / "other.txt").write_text("1,1,1,1,9,9,0.9,1,-1\n")
        (scene / "truth" / "second" / "gt").mkdir(parents=True)
        (scene / "truth" / "second" / "gt" / "gt.txt").write_text(TRUTH)
        code, _, err = call("out", "--truth", "truth")
        assert code == 0
        assert "note: other: is no sequence of the truth, and does not count" in err
        assert "note: second: has no results, which counts as nothing found" in err
