"""Who of several workers detects in which part of which video, and goes on where it stopped."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from motrail.batch.find import Video
from motrail.batch.plan import Stretch, make_plan
from motrail.batch.reading import Reader
from motrail.batch.turns import Turns
from motrail.config import VideoSettings
from motrail.errors import VideoError
from motrail.video.clip import Clip
from test_batch import make_clip

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def places(tmp_path: Path) -> list[Video]:
    return [Video(name, tmp_path / f"{name}.mp4") for name in "abc"]


def cut(video: Video, count: int) -> list[Stretch]:
    """So many stretches of ten frames each."""
    return [Stretch(video, 10 * k + 1, 10 * k + 10, 1, "print") for k in range(count)]


def names(stretches: list[Stretch | None]) -> list[str | None]:
    return [None if s is None else f"{s.video.name}{s.first // 10}" for s in stretches]


def test_each_takes_a_video_and_stays_with_it(places: list[Video]) -> None:
    turns = Turns([stretch for video in places for stretch in cut(video, 3)])
    assert len(turns) == len(list(turns)) == 9
    one, two = turns.next(None), turns.next(None)
    three = turns.next(one)
    assert names([one, two, three]) == ["a0", "b0", "a1"]


def test_what_is_left_of_a_video_is_shared(places: list[Video]) -> None:
    turns = Turns(cut(places[0], 8))
    first, second, third = turns.next(None), turns.next(None), turns.next(None)
    assert names([first, second, third]) == ["a0", "a4", "a2"]
    following = [turns.next(first), turns.next(second), turns.next(third)]
    assert names(following) == ["a1", "a5", "a3"]
    # The first comes to where the third began, and helps the second.
    assert names([turns.next(following[0]), turns.next(following[1])]) == ["a7", "a6"]
    assert turns.next(following[2]) is None


def test_a_video_that_nobody_is_at_comes_first(places: list[Video]) -> None:
    turns = Turns(cut(places[0], 4) + cut(places[1], 1))
    first = turns.next(None)
    assert first is not None
    turns.done(first)
    assert names([turns.next(None), turns.next(None)]) == ["a1", "b0"]


def test_lost_ones_come_back_and_videos_are_dropped(places: list[Video]) -> None:
    turns = Turns(cut(places[0], 3) + cut(places[1], 2))
    lost = turns.next(None)
    assert lost is not None
    turns.done(lost)
    turns.add(lost)
    assert turns.next(None) == lost
    assert names([*turns.drop("a")]) == ["a1", "a2"]
    assert turns.drop("a") == []
    assert names([turns.next(lost), turns.next(None), turns.next(None)]) == ["b0", "b1", None]


@pytest.mark.parametrize("seed", range(5))
def test_every_stretch_is_given_out_once(places: list[Video], seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    stretches = [stretch for video in places for stretch in cut(video, draw.randint(1, 9))]
    turns = Turns(stretches)
    workers: list[Stretch | None] = [None] * draw.randint(1, 5)
    given = []
    while len(turns):
        place = draw.randrange(len(workers))
        last = workers[place]
        if last is not None:
            turns.done(last)
        workers[place] = turns.next(last)
        given.append(workers[place])
    assert sorted(names(given), key=str) == sorted(names([*stretches]), key=str)


class TestReader:
    @pytest.fixture
    def entered(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Frames at which a video was entered."""
        found: list[int] = []
        enter = Clip.frames_from

        def note(clip: Clip, number: int, index: object) -> object:
            found.append(number)
            return enter(clip, number, index)  # type: ignore[arg-type]

        monkeypatch.setattr(Clip, "frames_from", note)
        return found

    @pytest.fixture
    def clip(self, tmp_path: Path) -> Video:
        return Video("clip", make_clip(tmp_path / "clip.mp4", 60))

    @pytest.mark.parametrize("stride", [1, 3, 7])
    def test_goes_on_without_entering_anew(
        self, clip: Video, tmp_path: Path, entered: list[int], stride: int
    ) -> None:
        kept = tmp_path / "kept"
        plan = make_plan(clip, VideoSettings(stride=stride), kept / "clip", 14)
        reader = Reader(kept)
        seen = []
        for stretch in plan.stretches:
            reader.open(stretch)
            seen += [frame.number for frame in reader.frames(stretch, 1)]
        reader.close()
        assert seen == list(range(1, 61, stride))
        assert entered == [1]

    def test_footage_that_changes_in_between_is_noticed(self, clip: Video, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        first, second, *_ = make_plan(clip, VideoSettings(), kept / "clip", 10).stretches
        reader = Reader(kept)
        reader.open(first)
        assert len(list(reader.frames(first, 1))) == 10
        make_clip(clip.path, 60, first=20)
        with pytest.raises(VideoError, match="was changed meanwhile; start again"):
            reader.open(second)
        reader.close()

    def test_enters_anew_elsewhere_and_after_leaving_early(
        self, clip: Video, tmp_path: Path, entered: list[int]
    ) -> None:
        kept = tmp_path / "kept"
        first, second, third, *_ = make_plan(clip, VideoSettings(), kept / "clip", 10).stretches
        reader = Reader(kept)
        for stretch in (third, first):
            reader.open(stretch)
            assert len(list(reader.frames(stretch, 1))) == 10
        reader.open(second)
        early = reader.frames(second, 15)
        assert next(early).number == 15
        early.close()
        reader.open(third)
        assert [frame.number for frame in reader.frames(third, 1)] == list(range(21, 31))
        reader.close()
        assert entered == [21, 1, 21]
