"""A project's whole life in a rehearsal, by the command line: from clips to nothing left."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from models import SIDE, SPOT, write_bundle
from motrail.config import SageMakerSettings
from motrail.formats.labels import Labels
from motrail.sagemaker.build import pushed
from motrail.sagemaker.project import find_project
from motrail.sagemaker.request import Request
from motrail.video.write import VideoWriter
from sagemaker_jobs import WORKTEAM
from sagemaker_rehearsing import log_lines, sagemaker
from sagemaker_shapes import CheckedRehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from commands import Call, Result
    from motrail.sagemaker.project import Project

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED42",
    "AWS_SECRET_ACCESS_KEY": "pLanTeD/sEcReT+kEy0123456789abcdefGHIJKL",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjPLANTED" + "Zk9" * 60 + "==",
}
SIGNATURE = "fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024"
SIGNED = (
    "https://footage.s3.eu-west-1.amazonaws.com/clip.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={SECRETS['AWS_ACCESS_KEY_ID']}%2F20261123%2Feu-west-1%2Fs3"
    f"&X-Amz-Security-Token={SECRETS['AWS_SESSION_TOKEN']}&X-Amz-Signature={SIGNATURE}"
)
ACCOUNT = "123456789012"
PLANTED = (*SECRETS.values(), SIGNATURE, ACCOUNT)
SMALL_MB = 0.1
"""More than the clips have and less than the one that the asynchronous endpoint refuses."""


class Size(NamedTuple):
    """How much is done.

    Attributes:
        clips: To be labelled.
        frames: Of each of them.
        epochs: Of the training job; its instance is taken away in the middle.
        trials: Of the tuning job.
        trial_epochs: Of each of them.
        tracked: Frames of the clips that are tracked.
        trained: Whether what was trained is deployed, in place of a network that sees spots.
    """

    clips: int
    frames: int
    epochs: int
    trials: int
    trial_epochs: int
    tracked: int
    trained: bool


@dataclass
class Life:
    """What a project did, and what it said.

    Attributes:
        folder: Where it did it; `cloud` in it is AWS's side and all else the user's.
        run: Calls `motrail`.
        size: How much of all.
        calls: All requests, in their order, and those that were only shown.
        said: What the commands printed, on both streams.
        seconds: What each step took.
        found: What the steps leave for the tests, by name.
    """

    folder: Path
    run: Call
    size: Size
    calls: list[Request] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    planted: list[Callable[[CheckedRehearsal], None]] = field(default_factory=list)

    @property
    def rehearse(self) -> tuple[object, ...]:
        """The flag that all commands get."""
        return ("--rehearse", self.folder / "cloud")

    def open(self, folder: Path, **options: Any) -> CheckedRehearsal:
        """The rehearsal that each command opens."""
        cloud = CheckedRehearsal(folder, environment={"OMP_NUM_THREADS": "1"}, **options)
        cloud.calls = self.calls
        while self.planted:
            self.planted.pop()(cloud)
        return cloud

    def cloud(self) -> CheckedRehearsal:
        """AWS's side, for a look that no command takes."""
        cloud = self.open(self.folder / "cloud")
        cloud.calls = []
        return cloud

    def call(self, *words: object, code: int = 0, rehearse: bool = True) -> Result:
        """Run a command, and see how it ends."""
        result = self.run(*words, *(self.rehearse if rehearse else ()))
        self.said += [result.out, result.err]
        assert result.code == code, (words, result)
        return result

    def sagemaker(self, *words: object, code: int = 0) -> Result:
        return self.call("sagemaker", *words, code=code)

    def answer(self, *words: object) -> Any:
        return json.loads(self.sagemaker(*words, "--json").out)

    def track(self, clip: Path, bundle: Path) -> bytes:
        """The track file of `motrail track`."""
        out = self.folder / "own"
        words = ("track", clip, "-m", bundle, "-o", out, "--no-video")
        self.call(*words, rehearse=False)
        return (out / f"{clip.stem}.txt").read_bytes()

    def live(self) -> None:
        """All of it."""
        for step in (setup, label, train, tune, realtime, asynchronous, batch, edge, secrets, look):
            start = time.perf_counter()
            step(self)
            self.seconds[step.__name__] = time.perf_counter() - start


def begin(folder: Path, run: Call, size: Size, monkeypatch: pytest.MonkeyPatch) -> Life:
    """A life that is to be lived, with secrets in the environment."""
    life = Life(folder, run, size)
    monkeypatch.setattr("motrail.sagemaker.rehearsal.Rehearsal", life.open)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return life


# The steps ---------------------------------------------------------------------------------------


def setup(life: Life) -> None:
    life.sagemaker("setup", "--dry-run")
    life.sagemaker("setup", "--yes")
    life.sagemaker("build", "--tool", "docker", "--source", Path(__file__).parents[1])
    with life.open(life.folder / "cloud") as cloud:
        life.found["project"] = project = find_project(cloud, SageMakerSettings())
        # What `build --run` asks before it pushes and afterwards; a rehearsal pushes nothing.
        cloud.call(Request("ecr", "GetAuthorizationToken", {}))
        assert pushed(cloud, project).keys() == {"train", "serve"}


def label(life: Life) -> None:
    """Clips to people, who draw what is there; then their labels home."""
    size = life.size
    names = [f"belt-{number}" for number in range(size.clips)]
    drawn = [belt(life.folder / f"{name}.mp4", size.frames, at) for at, name in enumerate(names)]
    clips = [life.folder / f"{name}.mp4" for name in names]
    ordered = life.answer(
        "label", *clips, "--classes", "spot", "--workteam", WORKTEAM, "-o", "labelled", "--no-wait"
    )
    with life.cloud() as cloud:
        cloud.answer_labeling(ordered["job"], drawn)
    done = life.answer("label", "--job", ordered["job"], "-o", "labelled")
    life.found["labels"] = done["dataset"]
    life.found["drawn"] = sum(len(each) for each in drawn)
    words = ("dataset", "split", "labelled", "--val", 1 / size.clips, "-o", "dataset")
    life.call(*words, rehearse=False)


def train(life: Life) -> None:
    """A training job whose spot instance is taken away in the middle."""
    middle = (life.size.epochs + 1) // 2
    life.planted.append(lambda cloud: cloud.interrupt_training(after_epochs=middle))
    words = ("train", "dataset", *tiny(life.size.epochs), "-o", "trained")
    life.found["training"] = found = life.answer(*words)
    with life.cloud() as cloud:
        group = "/aws/sagemaker/TrainingJobs"
        life.found["training log"] = log_lines(cloud, group, f"{found['job']}/")
        life.found["training job"] = sagemaker(
            cloud, "DescribeTrainingJob", TrainingJobName=found["job"]
        )


def tune(life: Life) -> None:
    trials = life.size.trials
    words = ("--trials", trials, "--parallel", min(trials, 2), "-o", "tuned")
    life.found["tuning"] = life.answer("tune", "dataset", *tiny(life.size.trial_epochs), *words)


def realtime(life: Life) -> None:
    """A session, a picture and a whole video through a real-time endpoint."""
    clip = life.folder / "clip.mp4"
    belt(clip, life.size.tracked, 100)
    model = bundle(life)
    life.found["own"] = life.track(clip, model)
    life.sagemaker("deploy", "realtime", model, "-n", "eye", "--max-instances", 2)
    for way in ("--png", "--raw"):
        words = ("remote", "track", clip, "--endpoint", "eye", "-o", f"session{way}", way)
        life.call(*words, "--no-video")
        life.found[f"session {way}"] = (life.folder / f"session{way}" / "clip.txt").read_bytes()
    picture = life.folder / "frame.png"
    frame = cv2.VideoCapture(str(clip)).read()[1]
    assert cv2.imwrite(str(picture), frame)
    life.found["picture"] = life.answer("invoke", "eye", picture)
    life.sagemaker("status")


def asynchronous(life: Life) -> None:
    """A video through S3 that is tracked, and one that is too large."""
    clip, large = life.folder / "clip.mp4", noise(life.folder / "large.mp4")
    small = f"MOTRAIL_SERVE_MAX_VIDEO_MB={SMALL_MB}"
    assert clip.stat().st_size < SMALL_MB * 2**20 < large.stat().st_size
    life.sagemaker("deploy", "async", bundle(life), "-n", "night", "--env", small)
    life.sagemaker("invoke", "night", clip, "-o", "later")
    life.found["async"] = (life.folder / "later" / "clip.txt").read_bytes()
    life.found["refusal"] = life.sagemaker("invoke", "night", large, "-o", "never", code=1)


def batch(life: Life) -> None:
    """Five videos on three instances."""
    footage = life.folder / "footage"
    footage.mkdir()
    clips = [footage / f"clip-{at}.mp4" for at in range(5)]
    for at, clip in enumerate(clips):
        belt(clip, life.size.tracked - at, 200 + at)
    life.found["wanted"] = {each.stem: life.track(each, bundle(life)) for each in clips}
    words = ("batch", footage, "-m", bundle(life), "--instances", 3, "-o", "tracks")
    life.found["batch"] = life.answer(*words)
    life.found["tracks"] = {
        each.stem: (life.folder / "tracks" / f"{each.stem}.txt").read_bytes() for each in clips
    }


def edge(life: Life) -> None:
    """A component for a device; a rehearsal checks its request and has nowhere to send it."""
    words = ("edge", bundle(life), "component", "--name", "motrail.spots")
    shown = json.loads(life.run("sagemaker", *words, *life.rehearse, "--dry-run").out)
    recipe = json.dumps(shown["parameters"]["inlineRecipe"]).encode()
    parameters = shown["parameters"] | {"inlineRecipe": recipe}
    life.calls.append(Request(shown["service"], shown["operation"], parameters))
    life.sagemaker(*words, "--create")


def secrets(life: Life) -> None:
    """Secrets where paths and names are expected: all of this fails, and nobody repeats them."""
    model = bundle(life)
    key = SECRETS["AWS_ACCESS_KEY_ID"]
    for words in (
        ("invoke", "eye", SIGNED),
        ("invoke", key, "frame.png"),
        ("invoke", "eye", f"{key}.mp4"),
        ("batch", SIGNED, "-m", model),
        ("batch", "footage", "-m", SIGNED),
        ("batch", f"s3://{key}/x?X-Amz-Signature={SIGNATURE}", "-m", model),
        ("train", SIGNED),
        ("train", "dataset", "--weights", SIGNED),
        ("train", "--attach", key),
        ("tune", SIGNED),
        ("label", SIGNED, "--classes", "spot", "--workteam", WORKTEAM, "-o", "unlabelled"),
        ("label", "clip.mp4", "--prelabel", SIGNED, "--workteam", WORKTEAM, "-o", "unlabelled"),
        ("label", "--job", key, "-o", "unlabelled"),
        ("deploy", "realtime", SIGNED, "-n", "ear"),
        ("deploy", "realtime", model, "-n", "ear", "--env", f"AWS_SECRET_ACCESS_KEY={key}"),
        ("deploy", "realtime", model, "-n", "ear", "--variant", f"{SIGNED}=0.5"),
        ("deploy", "delete", key, "--yes"),
        ("edge", SIGNED, "component-2", "--name", "motrail.other"),
        ("setup", "--stack", key, "--yes"),
        ("setup", "--input-bucket", SIGNED, "--yes"),
        ("status", "--config", SIGNED),
    ):
        result = life.run("sagemaker", *words, *life.rehearse)
        life.said += [result.out, result.err]
        assert result.code in (1, 2), (words, result)


def look(life: Life) -> None:
    """What is alive, before and after it has gone."""
    life.sagemaker("status", "--json")
    with life.cloud() as cloud:
        life.found["alive"] = left(cloud, life.found["project"])
        life.found["messages"] = cloud.messages
    life.sagemaker("cleanup", "--dry-run")
    life.sagemaker("cleanup", "--all", "--yes")
    with life.cloud() as cloud:
        life.found["left"] = left(cloud, life.found["project"])
    life.sagemaker("status", "--json")
    life.sagemaker("cleanup", "--all", "--yes")  # a second time there is nothing to do


# What they need ----------------------------------------------------------------------------------


def tiny(epochs: int) -> tuple[object, ...]:
    """The smallest network, on the smallest pictures."""
    return (
        "--model", "yolox-nano", "--epochs", epochs, "--input-width", 64, "--batch", 8,
        "--plain-epochs", epochs // 2, "--log-every", 1, "--warmup-steps", 2, "--workers", 0,
    )  # fmt: skip


def bundle(life: Life) -> Path:
    if life.size.trained:
        return life.folder / "trained" / "model.tar.gz"
    folder = life.folder / "spots"
    return folder if folder.is_dir() else write_bundle(folder)


def belt(path: Path, frames: int, seed: int) -> Labels:
    """A clip of bright spots that go right or left on a ground of its own, and where they are."""
    random = np.random.default_rng(seed)
    ground = np.kron(random.integers(0, 90, (8, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    starts, speeds = random.integers(0, SIDE - SPOT, 3), random.choice([-3, -2, 2, 3], 3)
    at, which = np.mgrid[0:frames, 0:3].reshape(2, -1)
    lefts = (starts[which] + at * speeds[which]) % (SIDE - SPOT)
    tops = 16 + 40 * which
    with VideoWriter(path, width=SIDE, height=SIDE, frame_rate=25, crf=10) as writer:
        for number in range(frames):
            picture = ground.copy()
            for left_, top in zip(lefts[at == number], tops[at == number], strict=True):
                picture[top : top + SPOT, left_ : left_ + SPOT] = 255
            writer.write(picture, number / 25)
    sides = np.full(len(at), SPOT)
    boxes = np.stack((lefts, tops, sides, sides), axis=1).astype(np.float64)
    return Labels.of(
        path.stem, ["spot"], at + 1, which + 1, boxes, np.zeros(len(at), np.int64),
        length=frames, width=SIDE, height=SIDE, frame_rate=25.0,
    )  # fmt: skip


def noise(path: Path) -> Path:
    """A clip that is large for its length."""
    random = np.random.default_rng(1)
    with VideoWriter(path, width=256, height=256, frame_rate=25, crf=10) as writer:
        for number in range(12):
            writer.write(random.integers(0, 255, (256, 256, 3), np.uint8), number / 25)
    return path


def left(cloud: CheckedRehearsal, project: Project) -> dict[str, list[str]]:
    """Everything that any list of AWS's shows."""

    def listed(service: str, operation: str, key: str, name: str, **given: Any) -> list[str]:
        return [str(each[name]) for each in cloud.pages(Request(service, operation, given), key)]

    def named(kind: str, name: str = "", key: str = "") -> list[str]:
        operation = f"List{kind}{'' if kind.endswith('s') else 's'}"
        return listed("sagemaker", operation, key or f"{kind}Summaries", name or f"{kind}Name")

    scaling = {"ServiceNamespace": "sagemaker"}
    found = {
        "endpoints": named("Endpoint", key="Endpoints"),
        "configs": named("EndpointConfig", key="EndpointConfigs"),
        "models": named("Model", key="Models"),
        "training jobs": named("TrainingJob"),
        "tuning jobs": named("HyperParameterTuningJob"),
        "processing jobs": named("ProcessingJob"),
        "labelling jobs": named("LabelingJob", key="LabelingJobSummaryList"),
        "scaling targets": listed(
            "application-autoscaling", "DescribeScalableTargets", "ScalableTargets", "ResourceId",
            **scaling,
        ),
        "scaling policies": listed(
            "application-autoscaling", "DescribeScalingPolicies", "ScalingPolicies", "PolicyName",
            **scaling,
        ),
        "alarms": listed("cloudwatch", "DescribeAlarms", "MetricAlarms", "AlarmName"),
        "topics": listed("sns", "ListTopics", "Topics", "TopicArn"),
        "repositories": listed("ecr", "DescribeRepositories", "repositories", "repositoryName"),
        "roles": listed("iam", "ListRoles", "Roles", "RoleName"),
        "log groups": listed("logs", "DescribeLogGroups", "logGroups", "logGroupName"),
        "buckets": listed("s3", "ListBuckets", "Buckets", "Name"),
        "stacks": listed("cloudformation", "DescribeStacks", "Stacks", "StackName"),
    }  # fmt: skip
    found["log streams"] = [
        f"{group} {stream}"
        for group in found["log groups"]
        for stream in listed(
            "logs", "DescribeLogStreams", "logStreams", "logStreamName", logGroupName=group
        )
    ]
    if project.bucket in found["buckets"]:
        found["objects"] = [item.uri for item in cloud.objects(f"s3://{project.bucket}/")]
    return found


def written(life: Life) -> Iterator[Path]:
    """Every file on the user's side."""
    for path in sorted(life.folder.rglob("*")):
        if path.is_file() and life.folder / "cloud" not in path.parents:
            yield path


def with_bodies(request: Request) -> Request:
    """A request as it was sent, but with other bytes in its body."""

    def body(value: Any) -> Any:
        size = re.fullmatch(r"<([0-9]+) bytes>", value) if isinstance(value, str) else None
        return bytes(int(size[1])) if size else value

    return request._replace(parameters={k: body(v) for k, v in request.parameters.items()})
