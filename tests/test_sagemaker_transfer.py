"""What goes to S3 and comes from it: bounded, shown, and ended by Ctrl-C."""

from __future__ import annotations

import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from motrail.cli.progress import steps_progress
from motrail.sagemaker import datasets
from motrail.sagemaker.aws import Aws
from motrail.sagemaker.datasets import read_record, upload_files
from motrail.sagemaker.ledger import get_json
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.transfer import Meter, read_object
from sagemaker_rehearsing import BUCKET, rehearse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.sagemaker.request import Cloud

REGION = "eu-west-1"


@pytest.fixture(params=["rehearsal", "moto"])
def cloud(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
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


def put(cloud: Cloud, key: str, body: bytes) -> str:
    cloud.call(Request("s3", "PutObject", {"Bucket": BUCKET, "Key": key, "Body": body}))
    return f"s3://{BUCKET}/{key}"


class TestBounds:
    def test_at_the_limit_and_above(self, cloud: Cloud) -> None:
        uri = put(cloud, "a", b"12345")
        found = read_object(cloud, uri, 5, "five letters")
        assert found.body == b"12345"
        assert found.etag == '"827ccb0eea8a706c4c34a16891f84e7b"'  # its MD5
        with pytest.raises(
            CloudError, match="a: expected five letters of at most 4 bytes, found more; it is not"
        ) as caught:
            read_object(cloud, uri, 4, "five letters")
        assert caught.value.code == "TooLarge"

    def test_nothing_and_none(self, cloud: Cloud) -> None:
        assert read_object(cloud, put(cloud, "empty", b""), 4, "nothing").body == b""
        with pytest.raises(CloudError) as caught:
            read_object(cloud, f"s3://{BUCKET}/none", 4, "nothing")
        assert caught.value.code == "NoSuchKey"

    def test_of_what_is_too_large_no_more_than_the_limit_comes(self, tmp_path: Path) -> None:
        with rehearse(tmp_path / "cloud") as cloud:
            uri = put(cloud, "large", bytes(1 << 20))
            with pytest.raises(CloudError, match="of at most 1,000 bytes, found more"):
                read_object(cloud, uri, 1000, "little")
            (asked,) = [r.parameters for r in cloud.calls if r.operation == "GetObject"]
        assert asked["Range"] == "bytes=0-1000"

    def test_documents_and_records(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        uri = put(cloud, "a.json", b'{"a": ["d", "e"]}')
        assert get_json(cloud, uri) == {"a": ["d", "e"]}
        assert read_record(cloud, uri) == {"a": ("d", "e")}
        with pytest.raises(CloudError, match="expected a document of a batch of at most 9 bytes"):
            get_json(cloud, uri, 9)
        monkeypatch.setattr(datasets, "MOST_RECORD", 9)
        with pytest.raises(CloudError, match="expected a record of files of at most 9 bytes"):
            read_record(cloud, uri)
        assert get_json(cloud, f"s3://{BUCKET}/none") is None
        assert read_record(cloud, f"s3://{BUCKET}/none") == {}


class TestMeter:
    def test_bytes_from_many_threads(self) -> None:
        told: list[tuple[str, int, int | None]] = []
        meter = Meter(lambda *step: told.append(step), "uploading", 800)

        def count() -> None:
            for _ in range(100):
                meter(1)

        threads = [threading.Thread(target=count) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert told == [("uploading", done, 800) for done in range(801)]

    def test_nothing_shows_nothing(self) -> None:
        told: list[object] = []
        Meter(lambda *step: told.append(step), "uploading", 0)
        assert told == []

    def test_ctrl_c_is_heard_by_the_main_thread_alone(self) -> None:
        """Another thread that ended would be waited for in vain."""

        def progress(_what: str, done: int, _total: int | None) -> None:
            if done:
                raise KeyboardInterrupt

        meter = Meter(progress, "uploading", 5)
        ended: list[bool] = []

        def count() -> None:
            meter(1)
            ended.append(True)

        thread = threading.Thread(target=count)
        thread.start()
        thread.join()
        assert ended
        with pytest.raises(KeyboardInterrupt):
            meter(1)

    def test_files_large_and_small(
        self, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(datasets, "_LARGE", 100)
        sizes = {"a": 99, "b": 100, "c": 5000, "d": 0}
        files = {f"s3://{BUCKET}/up/{name}": tmp_path / name for name in sizes}
        for name, size in sizes.items():
            (tmp_path / name).write_bytes(os.urandom(size))
        told: list[tuple[str, int, int | None]] = []
        upload_files(cloud, files, lambda *step: told.append(step))
        assert (told[0], told[-1]) == (("uploading", 0, 5199), ("uploading", 5199, 5199))
        for uri, path in files.items():
            assert read_object(cloud, uri, 9999, "a file").body == path.read_bytes()

    def test_large_ones_go_in_the_thread_that_hears_ctrl_c(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(datasets, "_LARGE", 100)
        threads: dict[str, threading.Thread] = {}

        class Cloudlet:
            def upload(self, path: Path, _uri: str, **_: Any) -> None:
                threads[path.name] = threading.current_thread()
                if path.name == "large-1":
                    raise KeyboardInterrupt

        for name, size in (("small", 99), ("large-1", 100), ("large-2", 100)):
            (tmp_path / name).write_bytes(bytes(size))
        files = {f"s3://{BUCKET}/{path.name}": path for path in sorted(tmp_path.iterdir())}
        made: Any = Cloudlet()
        with pytest.raises(KeyboardInterrupt):
            upload_files(made, files, lambda *_: None)
        assert threads.keys() == {"small", "large-1"}
        assert threads["large-1"] is threading.main_thread()
        assert threads["small"] is not threading.main_thread()


def test_an_upload_that_is_interrupted_leaves_no_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 keeps, and bills, the parts of uploads that were neither finished nor aborted."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    futures: Any = importlib.import_module("s3transfer.futures")
    wait = futures.TransferCoordinator.result
    came: list[bool] = []

    def interrupted(self: Any) -> Any:
        if not came and threading.current_thread() is threading.main_thread():
            came.append(True)
            raise KeyboardInterrupt
        return wait(self)

    (tmp_path / "large").write_bytes(bytes(20 << 20))
    with mock_aws():
        aws = Aws(REGION)
        place = {"LocationConstraint": REGION}
        given = {"Bucket": BUCKET, "CreateBucketConfiguration": place}
        aws.call(Request("s3", "CreateBucket", given))
        monkeypatch.setattr(futures.TransferCoordinator, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            aws.upload(tmp_path / "large", f"s3://{BUCKET}/large", tell=lambda _: None)
        assert came
        answer = aws.call(Request("s3", "ListMultipartUploads", {"Bucket": BUCKET}))
        assert not answer.get("Uploads")
        assert not list(aws.objects(f"s3://{BUCKET}/"))


def test_bytes_are_shown_as_such_and_quietly_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with steps_progress() as show:
        for done in range(0, 90_000_000, 9_000_000):
            show("uploading", done, 90_000_000)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("motrail.cli.progress._LOG_EVERY", -1.0)
    with steps_progress() as show:
        show("uploading", 45_000_000, 90_000_000)
        show("frames detected", 45, 90)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("uploading: 45.0 MB of 90.0 MB")
    assert lines[1].startswith("frames detected: 45 of 90")


def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with steps_progress() as show:
        show("uploading", 45_000_000, 90_000_000)
    assert "45.0/90.0 MB" in capsys.readouterr().err
