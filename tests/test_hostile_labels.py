"""Spoiled files of labels are refused or read, quickly and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motrail.formats.coco.writer import CocoFile
from motrail.formats.labels import ClassList
from motrail.formats.mot.reader import read_mot

Prove = Callable[[str, str, object], None]
SAMPLE, FULL = 30, 200
MAX_MEMORY = 1024  # MiB
SCRIPT = Path(__file__).with_name("mutations.py")


@pytest.fixture(scope="module")
def files(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A real file of each format; the COCO file holds real labels, as we write them."""
    folder = tmp_path_factory.mktemp("coco")
    source = read_mot(data / "mot17_mini")
    with CocoFile(folder / "all.json", ClassList(source.classes)) as file:
        for labels in source:
            few = labels.replace(length=10)[labels.frames <= 3]
            file.add(few, "{:06d}.jpg".format)
        file.finish()
    return {
        "ground-truth": data / "labels" / "ground_truth" / "SeqLabel.json",
        "label-studio": data / "labels" / "label_studio" / "ls-video.json",
        "cvat": data / "labels" / "cvat" / "annotations.xml",
        "mot": data / "mot17_mini" / "MOT17-05-FRCNN" / "gt" / "gt.txt",
        "coco": folder / "all.json",
    }


def survive(format_: str, path: Path, first: int, count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), format_, str(path), str(first), str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, f"{format_}: {done.stderr[-2000:]}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


FORMATS = ("ground-truth", "label-studio", "cvat", "mot", "coco")


@pytest.mark.parametrize("format_", FORMATS)
def test_spoiled_files(files: dict[str, Path], format_: str) -> None:
    answer = survive(format_, files[format_], 1000, SAMPLE)
    assert answer["peak"] < MAX_MEMORY
    assert answer["refused"] > SAMPLE / 4


@pytest.mark.proof
@pytest.mark.parametrize("format_", FORMATS)
def test_two_hundred_spoiled_files(files: dict[str, Path], format_: str, prove: Prove) -> None:
    answer = survive(format_, files[format_], 0, FULL)
    said = f"{answer['refused']} refused, {answer['good']} read, {answer['peak']:.0f} MiB"
    prove(f"{FULL} mutations, {format_}", "no other exception, < 1 GB", said)
    assert answer["peak"] < MAX_MEMORY


def test_the_files_are_good_before(files: dict[str, Path]) -> None:
    from motrail.formats.labels import ReadOptions
    from motrail.formats.recognize import open_labels, recognize

    for format_, path in files.items():
        assert recognize(path) == format_
        options = ReadOptions(size=(1920, 1080))
        assert sum(len(np.unique(labels.frames)) for labels in open_labels(path, options)) > 2
