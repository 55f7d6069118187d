"""Training under bad conditions: said clearly and early, and nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch

from commands import Call, caller
from motrail.config import TrainSettings
from motrail.errors import FormatError, ModelError, OutputError, VideoError
from motrail.train import memory
from motrail.train.board import Board, installed
from motrail.train.checkpoint import load_checkpoint, save_checkpoint
from motrail.train.loop import State
from motrail.train.network import Yolox, make_yolox
from motrail.train.prepare import prepare_folder
from motrail.train.processes import Processes
from motrail.train.resume import carry_on, differences
from motrail.train.run import Job, Result, Training
from motrail.train.schedule import Schedule
from motrail.train.validate import detect_all, judge
from motrail.train.watch import Progress, forget_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

SIDE, FRAMES, EPOCHS = 96, 8, 3
STEPS = 4  # batches of an epoch: two clips of eight pictures in batches of four
ALL = list(range(1, EPOCHS * STEPS + 1))
SETTINGS = TrainSettings(
    epochs=EPOCHS, batch=4, input_width=64, plain_epochs=1, log_every=1, warmup_steps=2,
    workers=0, cache_gb=0.0, device="cpu",
)  # fmt: skip
FLAGS = (
    *("--model", "yolox-nano", "--input-width", "64", "--batch", "4", "--epochs", "3"),
    *("--plain-epochs", "1", "--log-every", "1", "--warmup-steps", "2", "--workers", "0"),
    *("--cache-gb", "0", "--device", "cpu"),
)


def write_clip(place: Path, *, labelled: bool = True, shift: int = 0) -> None:
    """Two bright squares on a dark ground that come nearer to each other."""
    (place / "img1").mkdir(parents=True)
    (place / "gt").mkdir()
    rows = []
    for number in range(1, FRAMES + 1):
        image = np.full((SIDE, SIDE, 3), 40, np.uint8)
        for i, (x, y) in enumerate([(8 + 4 * number, 10 + shift), (60 - 3 * number, 60)], 1):
            cv2.rectangle(image, (x, y), (x + 19, y + 19), (200, 220, 240), -1)
            rows.append(f"{number},{i},{x},{y},20,20,1,1,1\n")
        assert cv2.imwrite(str(place / "img1" / f"{number:06}.jpg"), image)
    (place / "gt" / "gt.txt").write_text("".join(rows) if labelled else "")
    (place / "seqinfo.ini").write_text(
        f"[Sequence]\nname={place.name}\nimDir=img1\nframeRate=10\nseqLength={FRAMES}\n"
        f"imWidth={SIDE}\nimHeight={SIDE}\nimExt=.jpg\n"
    )


def write_data(folder: Path) -> Path:
    for clip, split in enumerate(("train", "train", "val")):
        write_clip(folder / split / f"clip-{clip}", shift=5 * clip)
    (folder / "labels.txt").write_text("square\n")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "train")


class Run:
    """A run whose steps are looked at from outside."""

    def __init__(self, data: Path, folder: Path, **changes: Any) -> None:
        self.data, self.folder = data, folder
        self.settings = dataclasses.replace(SETTINGS, **changes)
        self.said: list[str] = []
        self.seen: list[Progress] = []
        self.training: Training | None = None

    def __call__(
        self,
        *,
        resume: bool = False,
        watch: Callable[[State], object] = lambda _state: None,
        stop: Callable[[State], bool] = lambda _state: False,
    ) -> Result:
        """Train; `watch` is called after each batch, `stop` says when to leave."""
        job = Job(self.data, "yolox-nano", self.folder, self.settings, resume=resume)
        prepare_folder(job)

        def progress(how_far: Progress) -> None:
            self.seen.append(how_far)
            watch(training.state)

        training = self.training = Training(job, self.said.append, progress)
        training.resume() if resume else training.examine()
        return training.train(lambda: stop(training.state), export=False)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = load_checkpoint(self.checkpoint)["state"]
        return state

    def rows(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["kind"] == kind]

    def weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = load_checkpoint(self.checkpoint)["network"]
        return weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(write_data(folder / "data"), folder / "run")
    run()
    return run


def assert_as_if_nothing_happened(run: Run, whole: Run) -> None:
    ours, theirs = run.weights(), whole.weights()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [row["update"] for row in run.rows("train")] == ALL
    assert [row["epoch"] for row in run.rows("val")] == [1, 2, 3]
    assert [row["AP"] for row in run.rows("val")] == [row["AP"] for row in whole.rows("val")]


class TestDatasets:
    def test_a_split_without_pictures(self, call: Call, data: Path) -> None:
        """Nothing is left behind that would be in the way of the next try."""
        shutil.rmtree(data / "train")
        (data / "train").mkdir()
        for _ in range(2):
            result = call(data, "-o", "run", *FLAGS)
            assert result.code == 1
            assert f"{data / 'train'}: expected" in result.err
            assert "holds something already" not in result.err

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_pictures_without_labels(self, call: Call, data: Path, split: str) -> None:
        for place in (data / split).iterdir():
            (place / "gt" / "gt.txt").write_text("")
        result = call(data, "-o", "run", *FLAGS)
        count = FRAMES * (2 if split == "train" else 1)
        assert result.code == 1
        assert (
            f"{data / split}: expected labelled objects (square), found none in {count} pictures"
        ) in result.err

    def test_a_class_without_boxes_is_said(self, data: Path, tmp_path: Path) -> None:
        (data / "labels.txt").write_text("square\ncircle\n")
        run = Run(data, tmp_path / "run")
        job = Job(data, "yolox-nano", run.folder, run.settings)
        training = Training(job, run.said.append)
        prepare_folder(job)
        training.examine()
        assert training.samples.classes == ("square",)
        assert "note: class 'circle' has no object here, and is not learnt" in run.said

    def test_a_class_that_was_asked_for(self, data: Path, tmp_path: Path) -> None:
        (data / "labels.txt").write_text("square\ncircle\n")
        said: list[str] = []
        job = Job(data, "yolox-nano", tmp_path / "run", SETTINGS, classes=["circle", "square"])
        training = Training(job, said.append)
        prepare_folder(job)
        training.examine()
        assert training.samples.classes == ("circle", "square")
        assert "note: class 'circle' has no object here" in said
        assert "note: 'circle' is not in the split val: nothing says how well it is found" in said
        with pytest.raises(FormatError, match=r"expected labelled objects \(circle\), found none"):
            Training(dataclasses.replace(job, classes=["circle"]), said.append)

    def test_a_check_leaves_room_for_the_training(self, data: Path, tmp_path: Path) -> None:
        job = Job(data, "yolox-nano", tmp_path / "run", SETTINGS)
        prepare_folder(job)
        training = Training(job, lambda _line: None)
        training.examine()
        assert training.check(seconds=0).steps == 0
        prepare_folder(job)  # is not taken for a run


CUT, GARBAGE, EMPTY = (
    lambda content: content[: len(content) // 2],
    lambda content: b"\x07" * len(content),
    lambda _content: b"",
)


class TestPictures:
    @pytest.mark.parametrize(
        ("split", "spoil", "said"),
        [
            ("train", CUT, "000005.jpg: the image is broken, cut off or of an unusual kind"),
            ("val", GARBAGE, "000005.jpg: expected an image (jpg, png, bmp, webp or tif), found: "),
            ("train", EMPTY, "000005.jpg: expected an image, found 0 bytes; copy it again"),
        ],
    )
    def test_found_before_the_first_step(
        self, data: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], said: str, split: str
    ) -> None:
        clip = next((data / split).iterdir())
        path = clip / "img1" / "000005.jpg"
        path.write_bytes(spoil(path.read_bytes()))
        run = Run(data, tmp_path / "run")
        count = FRAMES * (2 if split == "train" else 1)
        with pytest.raises(VideoError) as caught:
            run()
        assert str(caught.value).startswith(f"1 of {count} pictures cannot be used: {clip}")
        assert said in str(caught.value)
        assert str(caught.value).endswith(
            "; put them right, or leave them out with --bad-pictures skip"
        )
        assert run.seen == []
        skipping = Run(data, tmp_path / "run", bad_pictures="skip", epochs=1)
        assert skipping().epochs == 1
        notes = [line for line in skipping.said if "left out" in line]
        assert len(notes) == 1
        assert notes[0].startswith(f"note: left out: {clip}")
        assert said in notes[0]

    def test_many_are_counted(self, data: Path, tmp_path: Path) -> None:
        for path in (data / "train" / "clip-0" / "img1").iterdir():
            path.write_bytes(b"")
        with pytest.raises(VideoError, match=r"^8 of 16 pictures .*; and 3 more; put them right"):
            Run(data, tmp_path / "run")()
        for path in (data / "train" / "clip-1" / "img1").iterdir():
            path.write_bytes(b"")
        with pytest.raises(VideoError, match=r"^16 of 16 pictures .*; nothing is left"):
            Run(data, tmp_path / "run", bad_pictures="skip")()

    def test_something_behind_a_picture_is_no_fault(self, data: Path, tmp_path: Path) -> None:
        """As phones put a film behind the photo."""
        path = data / "train" / "clip-0" / "img1" / "000005.jpg"
        path.write_bytes(path.read_bytes() + b"film" * 5000)
        run = Run(data, tmp_path / "run", epochs=1)
        assert run().epochs == 1

    def gone(self, run: Run, path: Path) -> Callable[[State], None]:
        """Moves a picture away after the first step of the third epoch."""

        def watch(state: State) -> None:
            if (state.epoch, state.step) == (2, 1):
                path.rename(path.with_suffix(".away"))

        return watch

    def last_of_epoch(self, run: Run, number: int) -> Path:
        job = Job(run.data, "yolox-nano", run.folder, run.settings)
        loader = Training(job, lambda _line: None).loader
        return loader.pictures.samples.path(int(loader.order(number)[-1]))

    def test_one_goes_missing_in_the_third_epoch(
        self, data: Path, tmp_path: Path, whole: Run
    ) -> None:
        run = Run(data, tmp_path / "run")
        path = self.last_of_epoch(run, 2)
        with pytest.raises(VideoError) as caught:
            run(watch=self.gone(run, path))
        assert re.match(r"epoch 3, step [2-4]: ", str(caught.value))
        assert str(caught.value).endswith(
            f"{path}: cannot be read: No such file or directory; put it right and go on with "
            "--resume, or leave such pictures out with --bad-pictures skip"
        )
        assert (run.state["epoch"], run.state["step"]) == (2, 0)
        with pytest.raises(ModelError) as others:
            run(resume=True)
        assert str(others.value) == (
            f"{run.checkpoint}: the labels or pictures of the split train are others than before "
            "(now 15 pictures with 30 boxes, then 16 with 32); put them back as they were, or "
            "train into another folder with -o"
        )
        path.with_suffix(".away").rename(path)
        run(resume=True)
        assert_as_if_nothing_happened(run, whole)

    def test_it_can_be_left_out(self, data: Path, tmp_path: Path) -> None:
        run = Run(data, tmp_path / "run", bad_pictures="skip")
        path = self.last_of_epoch(run, 2)
        assert run(watch=self.gone(run, path)).epochs == 3
        notes = [line for line in run.said if "left out" in line]
        assert notes == [f"note: left out: {path}: cannot be read: No such file or directory"]
        assert notes[0] in (run.folder / "log.txt").read_text()

    def test_one_goes_missing_in_validation(self, data: Path, tmp_path: Path, whole: Run) -> None:
        """What was learnt in the epoch is not lost."""
        run = Run(data, tmp_path / "run")
        path = data / "val" / "clip-2" / "img1" / "000003.jpg"

        def watch(state: State) -> None:
            if (state.epoch, state.step) == (1, STEPS):
                path.rename(path.with_suffix(".away"))

        with pytest.raises(VideoError) as caught:
            run(watch=watch)
        assert str(caught.value).startswith(f"validation after epoch 2: {path}: cannot be read")
        assert (run.state["epoch"], run.state["step"]) == (1, STEPS)
        path.with_suffix(".away").rename(path)
        run(resume=True)
        assert_as_if_nothing_happened(run, whole)


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As if there were no more room on the disk: writing ends with an error there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


class TestSpace:
    def test_none_for_the_checkpoint(self, data: Path, tmp_path: Path, whole: Run) -> None:
        run = Run(data, tmp_path / "run")
        with contextlib.ExitStack() as stack:

            def watch(state: State) -> None:
                if (state.epoch, state.step) == (1, 1):
                    stack.enter_context(no_file_larger_than(5_000_000))

            with pytest.raises(OutputError) as caught:
                run(watch=watch)
        assert str(caught.value) == (
            f"{run.checkpoint}: cannot be written: the file grew past the size this system allows"
        )
        assert (run.state["epoch"], run.state["step"]) == (1, 0)
        assert {path.name for path in run.checkpoint.parent.iterdir()} == {"last.pt", "best.pt"}
        run(resume=True)
        assert_as_if_nothing_happened(run, whole)

    @needs_full
    def test_none_for_the_figures(self, data: Path, tmp_path: Path, whole: Run) -> None:
        run = Run(data, tmp_path / "run")
        path = run.folder / "metrics.jsonl"

        def watch(state: State) -> None:
            if (state.epoch, state.step) == (1, 2):
                path.rename(tmp_path / "kept")
                path.symlink_to(FULL)

        with pytest.raises(OutputError) as caught:
            run(watch=watch)
        assert str(caught.value).startswith(f"{path}: cannot be written: the disk is full; free ")
        path.unlink()
        # The last row was written in part.
        path.write_text((tmp_path / "kept").read_text() + '{"kind": "tra')
        run(resume=True)
        assert_as_if_nothing_happened(run, whole)

    @needs_full
    def test_none_at_validation(self, data: Path, tmp_path: Path, whole: Run) -> None:
        run = Run(data, tmp_path / "run")
        path = run.folder / "metrics.jsonl"

        def stop(state: State) -> bool:
            if (state.epoch, state.step) == (1, STEPS) and not path.is_symlink():
                path.rename(tmp_path / "kept")
                path.symlink_to(FULL)
            return False

        with pytest.raises(OutputError, match="the disk is full"):
            run(stop=stop)
        assert (run.state["epoch"], run.state["step"]) == (1, STEPS)
        (tmp_path / "kept").rename(path)
        run(resume=True)
        assert_as_if_nothing_happened(run, whole)

    def limited(self, run: Run, size: int, *words: str) -> tuple[int, list[str]]:
        """Exit code and what is said by a process that may not write more than that."""
        program = (
            f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
            "from motrail.cli.app import run; sys.exit(run(sys.argv[1:]))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program, "train", run.data, "-o", run.folder, *words],
            capture_output=True, text=True, check=False, timeout=240,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return ended.returncode, ended.stderr.splitlines()

    def test_as_a_user_sees_it(self, data: Path, tmp_path: Path) -> None:
        run = Run(data, tmp_path / "run")
        code, lines = self.limited(run, 5_000_000, *FLAGS)
        said = (
            f"error: {run.checkpoint}: cannot be written: the file grew past the size this system "
            "allows"
        )
        assert (code, lines[-1]) == (1, said)
        assert not [line for line in lines if "Traceback" in line]
        assert list(run.checkpoint.parent.iterdir()) == []

    @pytest.mark.proof
    def test_none_for_the_model(self, whole: Run, tmp_path: Path) -> None:
        shutil.copytree(whole.folder, tmp_path / "run")
        run = Run(whole.data, tmp_path / "run")
        best = run.folder / "checkpoints" / "best.pt"
        before = best.read_bytes()
        code, lines = self.limited(run, 2_000_000, "--model", "yolox-nano", "--resume")
        said = (
            f"error: {run.folder}/model/model.onnx: cannot be written: the file grew past the size "
            "this system allows"
        )
        assert (code, lines) == (1, ["all is learnt, in 3 epochs; writing the model", said])
        assert best.read_bytes() == before
        left = {path.name for path in run.folder.iterdir()}
        assert left == {path.name for path in whole.folder.iterdir()}

    def test_a_place_where_nothing_can_be_written(self, call: Call, data: Path) -> None:
        result = call(data, "-o", "/sys/motrail", *FLAGS)
        assert result.code == 1
        assert "/sys/motrail" in result.err
        assert "cannot be written: " in result.err

    def test_a_file_in_the_way(self, call: Call, data: Path, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("")
        result = call(data, "-o", "run", *FLAGS)
        assert result.code == 1
        assert "error: run/checkpoints: cannot be written" in result.err

    def test_what_a_killed_process_left_is_cleared_away(self, whole: Run, tmp_path: Path) -> None:
        shutil.copytree(whole.folder, tmp_path / "run")
        left = tmp_path / "run" / "checkpoints" / ".0123456789abcdef"
        left.write_bytes(b"half a checkpoint")
        job = Job(whole.data, "yolox-nano", tmp_path / "run", SETTINGS, resume=True)
        prepare_folder(job)
        assert not left.exists()
        assert (tmp_path / "run" / "checkpoints" / "last.pt").exists()


class Malice:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("echo harm",)


class TestWeights:
    def test_a_published_one_of_bytetrack(self, data: Path, tmp_path: Path) -> None:
        """Its name ends as that of an archive."""
        torch.manual_seed(5)
        path = tmp_path / "bytetrack_nano_mot17.pth.tar"
        torch.save({"model": make_yolox("nano", 1).state_dict()}, path)
        said: list[str] = []
        job = Job(data, "yolox-nano", tmp_path / "run", SETTINGS, weights=path, preset="bytetrack",
                  names={"square": "pedestrian"})  # fmt: skip
        Training(job, said.append)
        assert said[0].endswith(" arrays loaded; kept pedestrian")

    def test_a_run_begins_with_the_best_of_another(self, whole: Run, tmp_path: Path) -> None:
        said: list[str] = []
        best = whole.folder / "checkpoints" / "best.pt"
        job = Job(whole.data, "yolox-nano", tmp_path / "run", SETTINGS, weights=best)
        training = Training(job, said.append)
        wanted = load_checkpoint(best)["network"]
        assert all(torch.equal(v, wanted[k]) for k, v in training.network.state_dict().items())
        assert said[0].endswith(" arrays loaded; kept square")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"nonsense", "expected a checkpoint of PyTorch: it is damaged, or something else"),
            (b"hello\nworld\n", "expected a checkpoint of PyTorch: it is damaged, or someth"),
            (b"\x80\x04no", "expected a checkpoint of PyTorch: it is damaged, or something else"),
            (b"", "expected a checkpoint of PyTorch: it is damaged, or something else"),
            (None, "holds Python objects besides weights, which are code and not read"),
        ],
    )
    def test_what_is_none(
        self, call: Call, data: Path, tmp_path: Path, content: bytes | None, said: str
    ) -> None:
        """Nothing is left that would be in the way of the next try."""
        path = tmp_path / "a.pth"
        if content is None:
            torch.save({"model": Malice()}, path)
        else:
            path.write_bytes(content)
        for _ in range(2):
            result = call(data, "-o", "run", *FLAGS, "--weights", path)
            assert (result.code, "harm" in result.out) == (1, False)
            assert f"error: {path}: {said}" in result.err


class TestCheckpoints:
    @pytest.fixture
    def copy(self, whole: Run, tmp_path: Path) -> Run:
        shutil.copytree(whole.folder, tmp_path / "run")
        return Run(whole.data, tmp_path / "run")

    def refused(self, run: Run) -> str:
        with pytest.raises(ModelError) as caught:
            run(resume=True)
        return str(caught.value)

    def test_of_other_classes(self, copy: Run, tmp_path: Path) -> None:
        copy.data = write_data(tmp_path / "others")
        (copy.data / "labels.txt").write_text("triangle\n")
        said = self.refused(copy)
        assert "is of another training: expected classes triangle, found square; train" in said

    def test_of_another_model(self, copy: Run, call: Call) -> None:
        words = [word.replace("yolox-nano", "yolox-tiny") for word in FLAGS]
        result = call(copy.data, "-o", copy.folder, *words, "--resume")
        assert result.code == 1
        assert (
            "expected model yolox-tiny, found yolox-nano; give --model yolox-nano, or train into "
            "another folder with -o"
        ) in result.err

    def test_with_code_in_it(self, copy: Run, capfd: pytest.CaptureFixture[str]) -> None:
        torch.save({"schema": 1, "network": Malice()}, copy.checkpoint)
        assert self.refused(copy) == (
            f"{copy.checkpoint}: expected a checkpoint of a training: it holds something besides "
            "numbers and text, which may be code and is not read"
        )
        assert "harm" not in capfd.readouterr().out

    def test_cut_off(self, copy: Run) -> None:
        content = copy.checkpoint.read_bytes()
        copy.checkpoint.write_bytes(content[: len(content) // 2])
        assert "expected a checkpoint of a training" in self.refused(copy)

    def test_the_best_one_is_none_to_go_on_from(self, copy: Run) -> None:
        shutil.copyfile(copy.folder / "checkpoints" / "best.pt", copy.checkpoint)
        assert (
            "expected a checkpoint to go on from, found one without average, optimizer, scaler, "
            "settings, state; best.pt is none, but can be given with --weights to another run"
        ) in self.refused(copy)

    def test_what_does_not_fit(self, copy: Run) -> None:
        content = load_checkpoint(copy.checkpoint)
        content["network"].popitem()
        save_checkpoint(copy.checkpoint, content)
        assert "does not fit its own training: Error(s) in loading" in self.refused(copy)


class TestGoingOn:
    def test_told_to_leave_in_validation(self, data: Path, tmp_path: Path, whole: Run) -> None:
        run = Run(data, tmp_path / "run")
        asked: list[State] = []

        def stop(state: State) -> bool:
            if (state.epoch, state.step) == (1, STEPS):
                asked.append(dataclasses.replace(state))
            return len(asked) > 1  # the first time is before, the second in the midst of it

        assert run(stop=stop).stopped
        assert (run.state["epoch"], run.state["step"]) == (1, STEPS)
        assert [row["epoch"] for row in run.rows("val")] == [1]
        run(resume=True)
        assert_as_if_nothing_happened(run, whole)

    def test_after_all_is_done(self, whole: Run, tmp_path: Path) -> None:
        shutil.copytree(whole.folder, tmp_path / "run")
        run = Run(whole.data, tmp_path / "run")
        result = run(resume=True)
        assert (result.stopped, result.epochs, run.seen) == (False, 3, [])
        assert run.said == ["all is learnt, in 3 epochs; writing the model"]
        assert_as_if_nothing_happened(run, whole)

    def test_with_more_epochs(self, whole: Run, tmp_path: Path) -> None:
        shutil.copytree(whole.folder, tmp_path / "run")
        run = Run(whole.data, tmp_path / "run", epochs=4, plain_epochs=0)
        assert run(resume=True).epochs == 4
        assert (
            "note: epochs was 3 and is 4: it does not end as it would have without the change"
        ) in run.said
        assert [row["update"] for row in run.rows("train")] == [*ALL, 13, 14, 15, 16]

    def test_with_smaller_batches_as_advised(self, data: Path, tmp_path: Path) -> None:
        """The place in the epoch is kept: the same pictures come, at the same rate."""
        run = Run(data, tmp_path / "run")
        assert run(stop=lambda state: state.updates == 6).stopped
        assert (run.state["epoch"], run.state["step"]) == (1, 2)
        smaller = Run(data, run.folder, batch=2, accumulate=2)
        smaller(resume=True)
        rows = smaller.rows("train")
        steps = [(row["epoch"], row["step"]) for row in rows if row["update"] > 6]
        assert steps == [(1 + 1, step) for step in (6, 7, 8)] + [(3, s) for s in range(1, 9)]
        assert rows[-1]["update"] == 12
        before = Run(data, tmp_path / "usual")
        before()
        assert rows[-1]["lr"] == pytest.approx(before.rows("train")[-1]["lr"])

    def test_settings_of_the_run_stay(
        self, data: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who goes on need not repeat them; those from weights learn at another rate."""
        monkeypatch.setattr("motrail.train.run.finish", lambda *_: None)
        run = Run(data, tmp_path / "run", learning_rate=0.00123)
        assert run(stop=lambda state: state.updates == 6).stopped
        result = call(data, "-o", run.folder, "--model", "yolox-nano", "--resume", "--epochs", "2")
        assert result.code == 0, result.err
        assert "epoch=2/2 step=3 " in result.err
        assert "note: epochs was 3 and is 2: it does" in result.err
        assert "learning_rate = 0.00123" in (run.folder / "config.toml").read_text()

    def state(self, **changes: Any) -> State:
        return dataclasses.replace(State(epoch=6, updates=24, best=5.0, best_epoch=2), **changes)

    def carried(self, state: State, before: TrainSettings, now: TrainSettings) -> int:
        content = {"settings": dataclasses.asdict(before), "world": 1, "steps_per_epoch": 4}
        steps = 4 * before.batch // now.batch
        return carry_on(state, content, now, steps_per_epoch=steps, world=1)

    def test_who_gave_up_goes_on_with_more_patience(self) -> None:
        three = dataclasses.replace(SETTINGS, epochs=20, patience=3)
        four = dataclasses.replace(three, patience=4)
        state = self.state(done=True)  # nothing better in the epochs 3, 4 and 5
        assert self.carried(state, three, three) == 0
        assert state.done
        self.carried(state, three, four)
        assert not state.done

    def test_what_is_best_in_something_else_is_looked_for_anew(self) -> None:
        hota = dataclasses.replace(SETTINGS, best_by="hota")
        state = self.state()
        self.carried(state, SETTINGS, hota)
        assert (state.best, state.best_epoch) == (None, -1)
        assert list(differences(dataclasses.asdict(SETTINGS), hota)) == [
            "note: the best model is looked for anew, now by hota"
        ]

    def test_the_rate_follows_the_new_plan(self) -> None:
        """After 6 epochs of 4 steps come epochs of 8: such a run would have made 48."""
        half = dataclasses.replace(SETTINGS, batch=2)
        state = self.state(step=1, updates=25)
        assert self.carried(state, SETTINGS, half) == 50 - 25
        assert state.step == 2
        plan = Schedule(1.0, 100)
        assert Schedule(1.0, 100, shift=25).rate(25) == plan.rate(50)
        ended = self.state(step=4, updates=28)
        self.carried(ended, SETTINGS, half)
        assert ended.step == 8  # validation is next, as before

    def test_what_does_not_matter_is_not_told(self) -> None:
        other = dataclasses.replace(SETTINGS, workers=3, log_every=7, patience=2)
        assert list(differences(dataclasses.asdict(SETTINGS), other)) == []

    def test_patience_and_rare_validations(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Patience is counted in epochs, and looked at after each validation."""
        run = Run(data, tmp_path / "run", epochs=9, validate_every=2, patience=3)
        scores = iter([5.0, 4.0, 4.0, 4.0])
        job = Job(data, "yolox-nano", run.folder, run.settings)
        prepare_folder(job)
        training = Training(job, run.said.append)
        monkeypatch.setattr(training.run, "validate", lambda _state, _stop: next(scores))
        result = training.train(lambda: False, export=False)
        # Epoch 2 was the best; 4 is two epochs later, 6 is four.
        assert (result.epochs, training.state.best_epoch, training.state.done) == (6, 1, True)
        again = Run(data, run.folder, epochs=9, validate_every=2, patience=3)
        assert again(resume=True).epochs == 6
        assert again.said[0].startswith("all is learnt, in 6 epochs (nothing got better)")

    def test_the_last_batches_make_a_whole_step(self, data: Path, tmp_path: Path) -> None:
        """Four batches in steps of three: the fourth counts as much as if it stood alone."""
        run = Run(data, tmp_path / "run", epochs=1, plain_epochs=0, accumulate=3, momentum=0.0,
                  warmup_steps=0, weight_decay=0.0)  # fmt: skip
        lost: list[float] = []
        job = Job(data, "yolox-nano", run.folder, run.settings)
        prepare_folder(job)
        training = Training(job, run.said.append)
        scale = training.learner.scaler.scale

        def seen(loss: Tensor) -> Tensor:
            lost.append(float(loss.detach()))
            scaled: Tensor = scale(loss)
            return scaled

        training.learner.scaler.scale = seen  # type: ignore[method-assign, assignment]
        training.train(lambda: False, export=False)
        shares = [loss / row["loss"] for loss, row in zip(lost, run.rows("train"), strict=True)]
        assert shares == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
        assert [row["update"] for row in run.rows("train")] == [0, 0, 1, 2]

    def test_figures_that_will_be_made_again(self, tmp_path: Path) -> None:
        rows = [
            {"kind": "train", "epoch": 1, "update": 4}, {"kind": "val", "epoch": 1, "update": 4},
            {"kind": "train", "epoch": 2, "update": 8}, {"kind": "val", "epoch": 2, "update": 8},
        ]  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path = tmp_path / "metrics.jsonl"
        for state, kept in (
            (State(epoch=2, step=0, updates=8), 4),
            (State(epoch=1, step=4, updates=8), 3),  # saved before it was validated
            (State(epoch=1, step=0, updates=4), 2),
            (State(), 0),
        ):
            path.write_text(text + '{"kind": "val", "epo')
            assert forget_after(tmp_path, state) == rows[:kept]
            assert path.read_text() == "".join(json.dumps(row) + "\n" for row in rows[:kept])


class TestMemory:
    @pytest.fixture
    def room_for(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Has the network run out of memory beyond a batch, as CUDA says it."""
        forward = Yolox.forward

        def limit(most: int) -> None:
            def limited(network: Yolox, images: Tensor) -> Tensor:
                if network.training and len(images) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
                return forward(network, images)

            monkeypatch.setattr(Yolox, "forward", limited)

        return limit

    @pytest.mark.parametrize("beyond", [1, 2, 3, 7, 8, 100])
    def test_the_largest_is_found(self, beyond: int) -> None:
        for most in range(beyond):
            tried: list[int] = []

            def fits(count: int, most: int = most, tried: list[int] = tried) -> bool:
                tried.append(count)
                return count <= most

            assert memory.largest_batch(fits, beyond) == most
            assert len(tried) <= 2 * beyond.bit_length()
            assert len(set(tried)) == len(tried)

    @pytest.mark.parametrize(
        ("batch", "accumulate", "fits", "answer"),
        [
            (8, 1, 5, (4, 2)),
            (8, 1, 4, (4, 2)),
            (8, 1, 1, (1, 8)),
            (8, 2, 7, (4, 4)),
            (6, 1, 5, (3, 2)),
            (7, 1, 5, (4, 2)),  # 7 has no half: 8 a step
            (64, 1, 33, (32, 2)),
        ],
    )
    def test_as_many_pictures_a_step(
        self, batch: int, accumulate: int, fits: int, answer: tuple[int, int]
    ) -> None:
        assert memory.split(batch, accumulate, fits) == answer

    def test_what_to_do_is_said(
        self, call: Call, data: Path, room_for: Callable[[int], None]
    ) -> None:
        room_for(3)
        result = call(data, "-o", "run", *FLAGS)
        assert result.code == 1
        assert "cpu is out of memory; trying what would fit" in result.err
        assert result.err.splitlines()[-1] == (
            "error: cpu is out of memory in epoch 1, step 1, with --batch 4 and pictures of up to "
            "64x64; the largest batch that fits is 3: go on with --resume --batch 2 --accumulate "
            "2, which learns from as many pictures a step"
        )

    def test_not_even_one_fits(
        self, data: Path, tmp_path: Path, room_for: Callable[[int], None]
    ) -> None:
        room_for(0)
        run = Run(data, tmp_path / "run")
        with pytest.raises(memory.MemoryFullError) as caught:
            run()
        assert str(caught.value).endswith(
            "not even a batch of 1 fits: take a smaller input (--input-width 32), and another "
            "folder with -o"
        )

    def test_the_advice_works_and_the_checkpoint_is_kept(
        self, data: Path, tmp_path: Path, room_for: Callable[[int], None]
    ) -> None:
        run = Run(data, tmp_path / "run")
        assert run(stop=lambda state: state.updates == 6).stopped
        before = run.checkpoint.read_bytes()
        room_for(2)
        with pytest.raises(memory.MemoryFullError, match="the largest batch that fits is 2: "):
            run(resume=True)
        assert run.checkpoint.read_bytes() == before
        run.settings = dataclasses.replace(run.settings, batch=2, accumulate=2)
        assert run(resume=True).updates == 12

    def test_other_errors_stay_what_they_are(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_network: Yolox, _images: Tensor) -> Tensor:
            raise RuntimeError("sizes do not match")

        monkeypatch.setattr(Yolox, "forward", broken)
        with pytest.raises(RuntimeError, match="sizes do not match"):
            Run(data, tmp_path / "run")()

    def test_several_processes_do_not_try(
        self, whole: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others wait for an answer of this one, which would never come."""
        job = Job(whole.data, "yolox-nano", whole.folder, SETTINGS)
        training = Training(job, lambda _line: None)
        trial = memory.Trial(training.learner, training.network, training.loader)

        def never(_trial: memory.Trial, _count: int) -> bool:
            pytest.fail("a batch was tried")

        monkeypatch.setattr(memory.Trial, "__call__", never)
        said = memory.advice(trial, SETTINGS, "yolox-nano", State(), Processes(1, 2, 1))
        assert str(said).startswith("process 1 of 2: cpu is out of memory in epoch 1, step 1, ")
        assert str(said).endswith(
            "try half of it, which was not tried here: --resume --batch 2 --accumulate 2"
        )
        one = dataclasses.replace(SETTINGS, batch=1)
        said = memory.advice(trial, one, "yolox-tiny", State(), Processes(1, 2, 1))
        assert str(said).endswith(
            "; take a smaller input (--input-width 32), or a smaller model (--model yolox-nano), "
            "and another folder with -o"
        )

    def test_the_network_itself_does_not_fit(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_network: Yolox, *_args: object, **_named: object) -> Yolox:
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore lines")

        monkeypatch.setattr(Yolox, "to", full)
        with pytest.raises(memory.MemoryFullError) as caught:
            Training(Job(data, "yolox-nano", tmp_path / "run", SETTINGS), lambda _line: None)
        assert str(caught.value) == (
            "the memory of the device does not suffice for yolox-nano, before the first picture: "
            "CUDA out of memory.; take a smaller model or input, or see what else is running there"
        )

    @pytest.mark.parametrize(
        ("error", "full"),
        [
            (torch.OutOfMemoryError("CUDA out of memory."), True),
            (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
            (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
            (RuntimeError("sizes do not match"), False),
            (ValueError("out of memory"), False),
        ],
    )
    def test_what_is_taken_for_it(self, error: Exception, full: bool) -> None:
        assert memory.is_full(error) == full


def test_boxes_beyond_all_numbers(whole: Run, tmp_path: Path) -> None:
    """A network that has hardly begun sees them; validation says how bad it is, and goes on."""
    training = Training(Job(whole.data, "yolox-nano", tmp_path, SETTINGS), lambda _line: None)
    for head in training.network.head.reg_preds:
        assert isinstance(head.bias, torch.nn.Parameter)
        head.bias.data += torch.tensor([-1e10, 1e10, 1e10, 1e10])
    for head in training.network.head.obj_preds:
        assert isinstance(head.bias, torch.nn.Parameter)
        head.bias.data += 10
    assert training.examination is not None
    found = detect_all(
        training.network.eval(), training.examination.loader, ["square"], device=training.device
    )
    assert judge(training.examination.truth, found).figures["AP"] == 0


class TestProgress:
    def test_over_all_epochs(self, whole: Run) -> None:
        assert [how_far.steps for how_far in whole.seen] == ALL
        assert {how_far.total for how_far in whole.seen} == {12}
        assert all(how_far.images_per_second > 0 for how_far in whole.seen)
        assert [how_far.average_precision is None for how_far in whole.seen] == [True] * 4 + [
            False
        ] * 8
        losses = [row["loss"] for row in whole.rows("train")]
        assert [how_far.loss for how_far in whole.seen] == pytest.approx(losses)

    def test_a_bar_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import io

        from motrail.cli.train import training_progress

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        with training_progress() as (say, progress):
            assert progress is not None
            say("epoch=1/3 [not markup] AP=1.00")
            progress(Progress(5, 12, 81.4, 9.876, None))
            progress(Progress(6, 12, 81.4, 9.876, 41.23))
        text = terminal.getvalue()
        assert "epoch=1/3 [not markup] AP=1.00" in text
        assert "6/12" in text
        assert "81.4 images/s, loss 9.88, AP 41.2" in text
        assert "ETA" in text

    def test_no_bar_in_a_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        from motrail.cli.train import training_progress

        with training_progress() as (say, progress):
            assert progress is None
            say("a line")
        assert capsys.readouterr() == ("", "a line\n")


class TestLog:
    def test_one_regex_for_each_figure(self, whole: Run) -> None:
        """Those of the documentation find the figures of metrics.jsonl, and nothing else."""
        document = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
        table = dict(re.findall(r"^\| `(\w+)` \| `(\\b.*)` \|", document, re.MULTILINE))
        assert {"loss", "lr", "images_per_second", "AP", "AP50", "HOTA", "MOTA"} <= table.keys()
        log = (whole.folder / "log.txt").read_text()
        for name, pattern in table.items():
            kind = "val" if name.isupper() or name.startswith(("AP", "IDF")) else "train"
            expected: Sequence[float] = [row[name] for row in whole.rows(kind)]
            found = [float(text) for text in re.findall(pattern, log)]
            assert found == pytest.approx(expected, abs=0.006, rel=6e-4), name


class TestBoard:
    @pytest.fixture(autouse=True)
    def _only_where_it_is(self) -> None:
        if not installed():
            pytest.skip("TensorBoard is not installed")

    def scalars(self, folder: Path) -> dict[str, list[tuple[int, float]]]:
        """As TensorBoard itself reads them."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        board = EventAccumulator(str(folder))
        board.Reload()
        return {
            tag: [(event.step, event.value) for event in board.Scalars(tag)]
            for tag in board.Tags()["scalars"]
        }

    def test_the_figures_are_those_of_the_rows(self, whole: Run) -> None:
        found = self.scalars(whole.folder / "tensorboard")
        rows = whole.rows("train")
        steps, losses = zip(*found["train/loss"], strict=True)
        assert list(steps) == [row["update"] for row in rows]
        assert list(losses) == pytest.approx([row["loss"] for row in rows])
        assert [step for step, _ in found["validation/AP50"]] == [4, 8, 12]
        assert f"for TensorBoard: tensorboard --logdir {whole.folder}/tensorboard" in whole.said

    def test_no_step_is_there_twice(self, data: Path, tmp_path: Path) -> None:
        """Neither of those made again, nor of the one that was made before."""
        run = Run(data, tmp_path / "run")

        def lost(state: State) -> None:
            if (state.epoch, state.step) == (1, 3):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(watch=lost)
        asked: list[int] = []

        def stop(state: State) -> bool:
            asked.extend([1] if (state.epoch, state.step) == (1, STEPS) else [])
            return bool(asked)

        run(resume=True, stop=stop)  # before the second validation
        run(resume=True)
        found = self.scalars(run.folder / "tensorboard")
        assert [step for step, _ in found["train/loss"]] == ALL
        assert [step for step, _ in found["validation/AP"]] == [4, 8, 12]

    def test_without_it(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("motrail.train.board.installed", lambda: False)
        run = Run(data, tmp_path / "run", epochs=1)
        run()
        assert not (run.folder / "tensorboard").exists()
        assert (
            'nothing is written for TensorBoard: pip install "motrail[tensorboard]" brings it'
        ) in run.said

    @needs_full
    def test_no_space(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        board = Board(tmp_path / "tensorboard", 0)
        monkeypatch.setattr(board, "_path", FULL)
        with pytest.raises(OutputError, match="the disk is full"):
            board.add({"kind": "train", "epoch": 1, "step": 1, "update": 1, "loss": 2.0})
