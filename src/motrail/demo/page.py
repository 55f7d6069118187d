"""The page at the end of the demonstration."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING

import motrail
from motrail.demo.run import LOGS
from motrail.demo.steps import MATCH
from motrail.report.blocks import (
    Code,
    Details,
    Film,
    Heading,
    Links,
    Note,
    Picture,
    Row,
    Text,
    Tile,
    Tiles,
)
from motrail.report.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from motrail.demo.run import Done
    from motrail.report.blocks import Block

NAME = "report.html"
_LOG_LINES = 30


def write_page(folder: Path, done: Sequence[Done]) -> Path:
    """Write the page: one file with everything to look at, and links to the others.

    Args:
        folder: Of the demonstration.
        done: Its steps.

    Returns:
        The file.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OutputError: The file cannot be written.
    """
    page = Page(
        "From footage to a server",
        "What motrail made of synthetic football, step by step",
        facts=[
            ("whole", f"{sum(step.seconds for step in done):.0f} s"),
            ("on", f"{os.cpu_count()} processor cores, {platform.machine()}"),
            ("clip", MATCH),
        ],
        footer=[("motrail", str(motrail.__version__)), ("Python", platform.python_version())],
    )
    page.add(
        Note(
            "Synthetic footage and a network that learned for minutes: this shows the way, not "
            "how good tracking can be."
        ),
        Tiles(list(_figures(folder))),
    )
    for number, step in enumerate(done, 1):
        page.add(*_section(folder, number, step))
    page.add(
        Heading("Your own video", "next", "The same way, beginning with the labels."),
        Code(
            "motrail label match.mp4 -o data\n"
            "motrail dataset split data --val 0.2\n"
            "motrail train data --model yolox-s -o run\n"
            "motrail track match.mp4 --model run/model.tar.gz -o tracks"
        ),
    )
    path = folder / NAME
    page.write(path)
    return path


def _figures(folder: Path) -> Iterator[Tile]:
    validated = _last_validation(folder / "run" / "metrics.jsonl")
    yield Tile("AP50", f"{validated['AP50']:.1f}", "of the detector, on the validation clips")
    scores = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["combined"]
    for name, meaning in (
        ("HOTA", "of the tracks, on the clip kept for the end"),
        ("IDF1", "how much of each object has one identity"),
        ("MOTA", "share of boxes found, less what was wrong"),
    ):
        yield Tile(name, f"{scores[name]:.1f}", meaning, share=scores[name] / 100)
    yield Tile("identity switches", f"{scores['IDSW']}", "on that clip")


def _last_validation(path: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found: dict[str, float] = [line for line in lines if line["kind"] == "val"][-1]
    return found


def _section(folder: Path, number: int, done: Done) -> Iterator[Block]:
    step = done.step
    yield Heading(f"{number}. {step.title}", step.name, step.lead)
    lines = [f"{step.server} &"] if step.server else []
    yield Code("\n".join([*lines, *step.lines]))
    yield from _shown(folder, step.name)
    log = (folder / LOGS / f"{step.name}.txt").read_text(encoding="utf-8", errors="replace")
    end = log.rstrip().splitlines()[-_LOG_LINES:]
    yield Details(f"What they printed ({done.seconds:.1f} s)", [Code("\n".join(end))])


def _shown(folder: Path, name: str) -> Iterator[Block]:
    """What there is to look at after a step."""
    if name == "dataset":
        yield _picture(folder / "stats.png", "The dataset in figures")
    elif name == "train":
        pictures = [
            _picture(folder / "run" / "batch0.jpg", "What the network sees, with its labels"),
            _picture(folder / "run" / "results.png", "Losses and scores"),
        ]
        yield Row(pictures)
    elif name == "track":
        film = (folder / "tracks" / f"{MATCH}.mp4").read_bytes()
        yield Film("The tracks", film, "Boxes, identities and trails, drawn by motrail track.")
    elif name == "evaluate":
        yield Links([("The evaluation, with every error and its cause", "evaluation.html")])
    elif name == "analyze":
        yield Links([("Paths, speeds, distances, the pitch from above", "analysis/report.html")])
    elif name == "serve":
        yield Text("The answer to one frame: left, top, right and bottom of every player.")
        yield Code((folder / "answer.txt").read_text(encoding="utf-8").strip())
        yield Text(_sameness(folder, "remote", "the session over HTTP"))
        yield Text(_sameness(folder, "job", "the job"))
    elif name == "sagemaker":
        yield Text(_sameness(folder, "endpoint", "the rehearsed endpoint"))


def _sameness(folder: Path, name: str, what: str) -> str:
    rows = (folder / name / f"{MATCH}.txt").read_bytes()
    same = rows == (folder / "tracks" / f"{MATCH}.txt").read_bytes()
    verdict = "byte for byte those of motrail track" if same else "not those of motrail track"
    return f"The tracks of {what} are {verdict}."


def _picture(path: Path, title: str) -> Picture:
    kind = "image/png" if path.suffix == ".png" else "image/jpeg"
    return Picture(title, path.read_bytes(), kind)
