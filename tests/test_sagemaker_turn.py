"""Several commands with one batch's name: one at a time makes jobs, and the others are told."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from motrail.sagemaker.aws import Aws
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.turn import BusyError, Turn
from sagemaker_jobs import FakeCloud
from sagemaker_rehearsing import BUCKET, rehearse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.sagemaker.request import Cloud

NOTE = f"s3://{BUCKET}/batch/nov/plan/job.json"
MISSING = CloudError("Could not find requested job", code="ValidationException")
REGION = "eu-west-1"


@pytest.fixture(params=["rehearsal", "moto"])
def cloud(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """What refuses conditional writes: the rehearsal, and moto behind boto3."""
    if request.param == "rehearsal":
        with rehearse(tmp_path / "cloud") as made:
            yield made
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with mock_aws():
        aws = Aws(REGION)
        place = {"LocationConstraint": REGION}
        given = {"Bucket": BUCKET, "CreateBucketConfiguration": place}
        aws.call(Request("s3", "CreateBucket", given))
        yield aws


def turn(cloud: Cloud) -> Turn:
    return Turn(cloud, NOTE, "nov", lambda _line: None)


def noted(cloud: Cloud) -> str | None:
    with contextlib.suppress(CloudError):
        bucket, _, key = NOTE.removeprefix("s3://").partition("/")
        body = cloud.call(Request("s3", "GetObject", {"Bucket": bucket, "Key": key}))["Body"]
        return str(json.loads(body)["name"])
    return None


def test_the_second_of_two_is_refused_and_told_what_to_do(cloud: Cloud) -> None:
    first, second = turn(cloud), turn(cloud)
    assert (first.look(), second.look()) == (None, None)
    first.take("job-1")
    with pytest.raises(
        BusyError,
        match="batch nov: another command works on it at this moment and makes job job-1; run this "
        "one again, and it waits for that job and does what is then left, or give another --job",
    ):
        second.take("job-2")
    assert noted(cloud) == "job-1"
    first.check()
    first.take("job-1b")  # the next job of the same command
    first.leave()
    assert noted(cloud) is None
    second.look()
    second.take("job-3")
    assert noted(cloud) == "job-3"


@pytest.mark.parametrize("cloud", ["rehearsal"], indirect=True)
def test_of_many_at_once_one_wins(cloud: Cloud) -> None:
    """As at S3; moto looks first and writes then."""
    turns = [turn(cloud) for _ in range(8)]
    for each in turns:
        each.look()
    won: list[int] = []
    ready = threading.Barrier(len(turns))

    def go(number: int) -> None:
        ready.wait()
        with contextlib.suppress(BusyError):
            turns[number].take(f"job-{number}")
            won.append(number)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(len(turns))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert noted(cloud) == f"job-{won[0]}"


def test_a_note_is_replaced_by_one_only(cloud: Cloud) -> None:
    """Two go on after the same job of before."""
    before = turn(cloud)
    before.look()
    before.take("old")
    first, second = turn(cloud), turn(cloud)
    for each in (first, second):
        each._seen = each._read()  # as `look` leaves it when the job is over
    first.take("new-1")
    with pytest.raises(BusyError, match="makes job new-1"):
        second.take("new-2")
    with pytest.raises(BusyError, match="makes job new-1"):
        before.check()
    before.leave()  # which is not its own any more
    assert noted(cloud) == "new-1"


class Planted(FakeCloud):
    """A cloud with one note, and jobs as planted."""

    def __init__(self, folder: Path, *states: Any) -> None:
        super().__init__(folder)
        self.note: bytes | None = None
        self.plant("GetObject", self._read)
        self.plant("PutObject", self._write)
        self.plant("DeleteObject", self._forget)
        self.plant("DescribeProcessingJob", *states)

    def _read(self, _request: Request) -> dict[str, Any]:
        if self.note is None:
            raise CloudError("none", code="NoSuchKey")
        return {"Body": self.note, "ETag": f'"{self.etag(self.note)}"'}

    def _write(self, request: Request) -> dict[str, Any]:
        self.note = request.parameters["Body"]
        return {"ETag": f'"{self.etag(self.note)}"'}

    def _forget(self, _request: Request) -> dict[str, Any]:
        self.note = None
        return {}


def said_turn(cloud: Planted) -> tuple[Turn, list[str]]:
    lines: list[str] = []
    return Turn(cloud, NOTE, "nov", lines.append), lines


def test_what_is_about_to_be_made_is_waited_for(tmp_path: Path) -> None:
    state = {"ProcessingJobStatus": "InProgress"}
    cloud = Planted(tmp_path, MISSING, MISSING, state)
    cloud.note = b'{"name": "job-1"}'
    waiting, lines = said_turn(cloud)
    assert waiting.look() == "job-1"
    assert cloud.slept == [15.0, 15.0]
    (line,) = lines
    assert line == (
        "another command is about to make job job-1 of the batch nov, or was killed before it did; "
        "waiting up to 10 min to see"
    )


def test_what_was_never_made_is_given_up(tmp_path: Path) -> None:
    cloud = Planted(tmp_path, MISSING)
    cloud.note = b'{"name": "job-1"}'
    before = cloud.etag(cloud.note)
    waiting, lines = said_turn(cloud)
    assert waiting.look() is None
    assert sum(cloud.slept) == 600
    assert lines[-1] == "job job-1 was never made; going on without it"
    waiting.take("job-2")
    assert cloud.asked("PutObject")[-1]["IfMatch"] == f'"{before}"'


@pytest.mark.parametrize("note", [b"", b"no json", b"[1]", b'{"name": 3}', b"[" * 50_000])
def test_a_note_of_no_sense_is_none(tmp_path: Path, note: bytes) -> None:
    cloud = Planted(tmp_path, MISSING)
    cloud.note = note
    assert said_turn(cloud)[0].look() is None


def test_a_note_of_no_end(tmp_path: Path) -> None:
    cloud = Planted(tmp_path, MISSING)
    cloud.note = b" " * 70_000
    with pytest.raises(CloudError, match="expected the name of a job of at most 65,536 bytes"):
        said_turn(cloud)[0].look()


def test_what_fails_before_its_job_was_made_gives_its_turn_back(tmp_path: Path) -> None:
    for problem in (CloudError("no capacity", code="ResourceLimitExceeded"), KeyboardInterrupt()):
        cloud = Planted(tmp_path, MISSING)
        mine, _ = said_turn(cloud)
        assert mine.look() is None
        with pytest.raises(type(problem)), mine.taken("job-1"):
            assert cloud.note is not None
            raise problem
        assert cloud.note is None


def test_what_fails_afterwards_leaves_its_job_to_be_found(tmp_path: Path) -> None:
    cloud = Planted(tmp_path, {"ProcessingJobStatus": "InProgress"})
    mine, _ = said_turn(cloud)
    assert mine.look() is None
    with pytest.raises(KeyboardInterrupt), mine.taken("job-1"):
        raise KeyboardInterrupt
    assert mine.look() == "job-1"


def test_an_answer_that_was_lost_is_no_other_command(tmp_path: Path) -> None:
    cloud = Planted(tmp_path, MISSING)
    cloud.plant("PutObject", CloudError("PreconditionFailed", code="PreconditionFailed"))
    mine, _ = said_turn(cloud)
    assert mine.look() is None
    cloud.note = b'{"name": "job-1"}'  # boto3 sent it twice
    mine.take("job-1")
    mine.check()
