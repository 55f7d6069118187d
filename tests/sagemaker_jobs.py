"""A project and a cloud for the tests of jobs: S3 in a folder, answers as planted."""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from motrail.config import SageMakerSettings
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.sagemaker.project import Project
from motrail.sagemaker.request import CloudError, ObjectInfo, Request, split_uri
from motrail.sagemaker.rules import check
from motrail.sagemaker.watch import Choice, Watcher

if TYPE_CHECKING:
    from pathlib import Path

Answer = Mapping[str, Any] | CloudError | Callable[[Request], Mapping[str, Any]]
WORKTEAM = "arn:aws:sagemaker:eu-west-1:123456789012:workteam/private-crowd/us"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

PROJECT = Project(
    name="motrail",
    region="eu-west-1",
    bucket="motrail-bucket",
    training_role="arn:aws:iam::123456789012:role/motrail-training",
    serving_role="arn:aws:iam::123456789012:role/motrail-serving",
    processing_role="arn:aws:iam::123456789012:role/motrail-processing",
    labeling_role="arn:aws:iam::123456789012:role/motrail-labeling",
    success_topic="arn:aws:sns:eu-west-1:123456789012:motrail-success",
    error_topic="arn:aws:sns:eu-west-1:123456789012:motrail-error",
    training_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/motrail-train:0.1.0",
    serving_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/motrail-serve:0.1.0",
)


def settings(**changes: Any) -> SageMakerSettings:
    return SageMakerSettings(**({"workteam": WORKTEAM} | changes))


class FakeCloud:
    """Answers what was planted, the last answer of an operation again and again."""

    region = "eu-west-1"
    rehearsal = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[Request] = []
        self.uploads: list[str] = []
        self.slept: list[float] = []
        self._answers: dict[str, deque[Answer]] = {
            "ListServiceQuotas": deque([{"Quotas": []}]),
            "ListTrainingJobs": deque([{"TrainingJobSummaries": []}]),
        }

    def plant(self, operation: str, *answers: Answer) -> None:
        self._answers[operation] = deque(answers)

    def call(self, request: Request) -> dict[str, Any]:
        check(request)
        self.calls.append(request)
        if request.operation == "DeleteObjects":
            for item in request.parameters["Delete"]["Objects"]:
                self.path(f"s3://{request.parameters['Bucket']}/{item['Key']}").unlink()
            return {}
        answers = self._answers.get(request.operation)
        if answers is None and request.operation == "GetObject":
            return self._object(request.parameters)
        if answers is None:
            return {}
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer(request) if callable(answer) else answer)

    def pages(self, request: Request, key: str) -> Iterator[Any]:
        yield from self.call(request).get(key, [])

    def _object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        uri = f"s3://{asked['Bucket']}/{asked['Key']}"
        if not self.path(uri).is_file():
            raise CloudError(f"{uri}: no such object", code="NoSuchKey")
        content = self.path(uri).read_bytes()
        last = asked["Range"].removeprefix("bytes=0-") if "Range" in asked else len(content)
        return {"Body": content[: int(last) + 1], "ETag": self.etag(content)}

    def path(self, uri: str) -> Path:
        bucket, key = split_uri(uri)
        return self.folder / bucket / key

    def upload(self, path: Path, uri: str, *, tell: Callable[[int], None] | None = None) -> None:
        self.path(uri).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.path(uri))
        self.uploads.append(uri)
        if tell is not None:
            tell(path.stat().st_size)

    def download(self, uri: str, path: Path, *, tell: Callable[[int], None] | None = None) -> None:
        if not self.path(uri).is_file():
            raise CloudError(f"{uri}: no such object", code="NoSuchKey")
        shutil.copyfile(self.path(uri), path)

    def objects(self, uri: str) -> Iterator[ObjectInfo]:
        bucket, _ = split_uri(uri)
        root = self.folder / bucket
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            name = f"s3://{bucket}/{path.relative_to(root).as_posix()}"
            if name.startswith(uri):
                yield ObjectInfo(name, path.stat().st_size, self.etag(path.read_bytes()))

    def etag(self, content: bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [call.parameters for call in self.calls if call.operation == operation]


class Ears:
    """A watcher that keeps what it is told, and gives the answers it was given."""

    def __init__(self, *choices: Choice) -> None:
        self.lines: list[str] = []
        self.asked: list[str] = []
        self._choices = deque(choices)

    def watcher(self) -> Watcher:
        return Watcher(self.lines.append, self._ask)

    def _ask(self, job: str) -> Choice:
        self.asked.append(job)
        return self._choices.popleft()


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Progress that nobody looks at."""


SIDE = 96


def squares(folder: Path, *, clips: int = 3, frames: int = 8) -> Path:
    """A split dataset of bright squares on a dark ground, at `folder`."""
    labels = folder.with_name(f"{folder.name}-labels")
    labels.mkdir(parents=True)
    (labels / "labels.txt").write_text("square\n")
    for clip in range(clips):
        place = labels / f"clip-{clip}"
        (place / "gt").mkdir(parents=True)
        (place / "img1").mkdir()
        rows = []
        for number in range(1, frames + 1):
            image = np.full((SIDE, SIDE, 3), 40, np.uint8)
            for one, (x, y) in enumerate([(8 + 4 * number, 10 + 5 * clip), (60, 60)], start=1):
                cv2.rectangle(image, (x, y), (x + 19, y + 19), (200, 220, 240), -1)
                rows.append(f"{number},{one},{x},{y},20,20,1,1,1\n")
            cv2.imwrite(str(place / "img1" / f"{number:06}.png"), image)
        (place / "gt" / "gt.txt").write_text("".join(rows))
        (place / "seqinfo.ini").write_text(
            f"[Sequence]\nname=clip-{clip}\nimDir=img1\nframeRate=10\nseqLength={frames}\n"
            f"imWidth={SIDE}\nimHeight={SIDE}\nimExt=.png\n"
        )
    whole = folder.with_name(f"{folder.name}-all")
    import_labels([labels], whole)
    split_dataset(whole, val=0.34, seed=1, output=folder)
    return folder
