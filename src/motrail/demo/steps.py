"""The steps of the demonstration, each a few command lines that work on their own."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

MATCH = "football-107"
"""The clip that is kept for the end: tracked, measured, served."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the life.

    Attributes:
        name: Of its log, and in what is remembered of it: a word.
        title: What it is.
        lead: Why it is there, in a sentence or two.
        lines: Command lines, in order, as they are typed; `> FILE` at the end keeps what is
            printed.
        makes: Files and folders that it makes, relative to the folder of the demonstration. They
            are removed before it is done anew.
        server: A command line that runs while the others do.
    """

    name: str
    title: str
    lead: str
    lines: tuple[str, ...]
    makes: tuple[str, ...] = field(default=())
    server: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Attributes:
        clips: Of labelled footage: two for validation, the others for training.
        frames: Of each.
        epochs: Of training.
        trials: Of tuning.
        match: Frames of the clip kept for the end.
    """

    clips: int
    frames: int
    epochs: int
    trials: int
    match: int


FULL = Size(clips=12, frames=50, epochs=14, trials=60, match=150)
QUICK = Size(clips=6, frames=40, epochs=10, trials=10, match=60)

_SYNTH = "motrail dataset synth --scene football --difficulty easy --size 416x240 --videos"


def steps_of(folder: str, size: Size, port: int) -> tuple[Step, ...]:
    """All steps, in order.

    Args:
        folder: Where everything goes, as the user wrote it.
        size: How much is done.
        port: Where the server of the demonstration listens, on this machine alone.
    """
    at = shlex.quote(folder)
    return (
        *_labels(at, size),
        *_model(at, size),
        *_results(at),
        *_service(at, port),
        _sagemaker(at),
    )


def _labels(at: str, size: Size) -> tuple[Step, ...]:
    return (
        Step(
            "footage",
            "Footage",
            "Synthetic football, for here everything is known: every box, every identity, every "
            "player's place in metres. On your own video, begin with the labels.",
            (
                f"{_SYNTH} --clips {size.clips} --frames {size.frames} --seed 1 -o {at}/footage",
                f"{_SYNTH} --clips 1 --frames {size.match} --seed 107 -o {at}/match",
            ),
            ("footage", "match"),
        ),
        Step(
            "labels",
            "Labels, in the format of SageMaker Ground Truth",
            "As a labelling job leaves them: frames, sequence files, a manifest. Labels of CVAT, "
            "Label Studio, MOT and COCO come in the same way, and motrail label makes your own.",
            (f"motrail dataset export {at}/footage --to ground-truth -o {at}/labelled",),
            ("labelled",),
        ),
        Step(
            "dataset",
            "A dataset of them",
            "Imported without losing an identity, checked, counted, and divided so that no clip "
            "stands on both sides.",
            (
                (
                    f"motrail dataset import {at}/labelled/manifests/output/output.manifest "
                    f"--mirror {at}/labelled -o {at}/data"
                ),
                f"motrail dataset check {at}/data --training-size 416x256",
                f"motrail dataset stats {at}/data -o {at}/stats.png",
                f"motrail dataset split {at}/data --val {2 / size.clips:.3g} --seed 1",
            ),
            ("data", "stats.png"),
        ),
    )


def _model(at: str, size: Size) -> tuple[Step, ...]:
    return (
        Step(
            "train",
            "A detector, trained from nothing",
            "YOLOX-nano on a few hundred small pictures, with two processor cores. With weights "
            "to start from and a GPU it is another matter; the commands are the same.",
            (
                (
                    f"motrail train {at}/data --model yolox-nano --input-width 416 "
                    f"--input-height 256 --epochs {size.epochs} --batch 2 --mosaic 0 "
                    f"--multiscale 0 --scale 0.8 1.25 --validate-every {(size.epochs + 1) // 2} "
                    f"-o {at}/run"
                ),
            ),
            ("run",),
        ),
        Step(
            "tune",
            "The tracker, tuned on the validation clips",
            "The detections are kept, so that a trial takes a moment. A gain that chance could "
            "explain does not count.",
            (
                f"motrail detect {at}/data/val --model {at}/run/model.tar.gz -o {at}/seen",
                (
                    f"motrail tune tracker --detections {at}/seen --truth {at}/data/val "
                    f"--trials {size.trials} --folds 2 -o {at}/tune"
                ),
            ),
            ("seen", "tune"),
        ),
    )


def _results(at: str) -> tuple[Step, ...]:
    video, settings = f"{at}/match/videos/{MATCH}.mp4", f"--config {at}/tune/settings.toml"
    bundle = f"{at}/run/model.tar.gz"
    return (
        Step(
            "track",
            "Tracks of a clip that nothing was learned from",
            "Every object boxed, numbered and followed, and the same as plain rows.",
            (f"motrail track {video} --model {bundle} {settings} -o {at}/tracks",),
            ("tracks",),
        ),
        Step(
            "evaluate",
            "How good they are, and why not better",
            "Against the truth, with the cause of every error.",
            (
                f"motrail detect {video} --model {bundle} -o {at}/detections",
                (
                    f"motrail evaluate {at}/tracks --truth {at}/match {settings} "
                    f"--detections {at}/detections --ap -o {at}/evaluation.html"
                ),
                f"motrail evaluate {at}/tracks --truth {at}/match --json > {at}/evaluation.json",
            ),
            ("detections", "evaluation.html", "evaluation.json"),
        ),
        Step(
            "analyze",
            "Speed and distance of every player",
            "In metres, for five points of the pitch are known. How sure a speed is, stands "
            "beside it.",
            (
                (
                    f"motrail analyze {at}/tracks/{MATCH}.txt --video {video} "
                    f"--calibration {at}/match/calibration/{MATCH}.toml -o {at}/analysis"
                ),
            ),
            ("analysis",),
        ),
    )


def _service(at: str, port: int) -> tuple[Step, ...]:
    video, bundle = f"{at}/match/videos/{MATCH}.mp4", f"{at}/run/model.tar.gz"
    url, quiet = f"http://127.0.0.1:{port}", f"--no-video --config {at}/tune/settings.toml"
    ask = (
        "import motrail, pathlib, sys; frame = pathlib.Path(sys.argv[2]).read_bytes(); "
        "print(motrail.Client(sys.argv[1]).detect(frame).boxes_xyxy.round(1))"
    )
    return (
        Step(
            "serve",
            "At work: a server, a frame, a camera, a job",
            "One server answers single frames, follows what a camera sees frame by frame, and "
            "takes long videos as jobs.",
            (
                (
                    f"python -c {shlex.quote(ask)} {url} {at}/match/all/{MATCH}/img1/000001.jpg "
                    f"> {at}/answer.txt"
                ),
                f"motrail remote track {video} --url {url} --png {quiet} -o {at}/remote",
                f"motrail remote track {video} --url {url} --job {quiet} -o {at}/job",
            ),
            ("answer.txt", "remote", "job", "jobs"),
            f"motrail serve {bundle} --port {port} --jobs-folder {at}/jobs",
        ),
        Step(
            "batch",
            "An archive",
            "All cores, every video, and on where it stopped.",
            (f"motrail batch {at}/footage/videos {at}/archive --model {bundle}",),
            ("archive",),
        ),
    )


def _sagemaker(at: str) -> Step:
    rehearse = f"--rehearse {at}/rehearsal"
    video = f"{at}/match/videos/{MATCH}.mp4"
    return Step(
        "sagemaker",
        "The same at Amazon SageMaker, rehearsed here",
        "The requests that would be sent, checked against AWS's rules and carried out on this "
        "machine: no account, no cost. Without --rehearse the same lines do it there.",
        (
            f"motrail sagemaker setup --yes {rehearse}",
            f"motrail sagemaker deploy realtime {at}/run/model.tar.gz --name players {rehearse}",
            (
                f"motrail remote track {video} --endpoint players --png --no-video "
                f"--config {at}/tune/settings.toml -o {at}/endpoint {rehearse}"
            ),
            f"motrail sagemaker cleanup --all --yes {rehearse}",
        ),
        ("rehearsal", "endpoint"),
    )
