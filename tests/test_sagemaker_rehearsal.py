"""The rehearsal's storage, and what stays of it from one command to the next."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from motrail.errors import ConfigError, FormatError
from motrail.sagemaker.rehearsal import Rehearsal
from motrail.sagemaker.rehearsal.inputs import files
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.transfer import download_folder
from sagemaker_rehearsing import (
    BUCKET,
    ask,
    get,
    keys,
    put,
    rehearse,
    sagemaker,
    train,
    training_job,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sagemaker_shapes import CheckedRehearsal


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CheckedRehearsal]:
    with rehearse(tmp_path / "cloud") as one:
        yield one


def refused(code: str, cloud: CheckedRehearsal, operation: str, **parameters: Any) -> str:
    with pytest.raises(CloudError) as caught:
        sagemaker(cloud, operation, **parameters)
    assert caught.value.code == code
    return str(caught.value)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or ") Z " not in state.read_text()


def _soon(look: Callable[[], Any]) -> Any:
    """What is found as soon as there is something."""
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


class TestStorage:
    def test_files_go_there_and_a_folder_comes_back(
        self, cloud: CheckedRehearsal, tmp_path: Path
    ) -> None:
        folder = tmp_path / "here"
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "ä 100%.txt").write_bytes(b"1")
        (folder / ".hidden").write_bytes(b"22")
        sizes: list[int] = []
        for name in ("a/ä 100%.txt", ".hidden"):
            cloud.upload(folder / name, f"s3://{BUCKET}/up/{name}", tell=sizes.append)
        assert sorted(sizes) == [1, 2]
        assert download_folder(cloud, f"s3://{BUCKET}/up", tmp_path / "back") == 2
        assert (tmp_path / "back" / "a" / "ä 100%.txt").read_bytes() == b"1"

    def test_keys_are_no_paths(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        odd = ["x", "x/y", "x/y/", "../../up", "a//b", "./c", "100%25", "%2F", "back\\slash"]
        for key in odd:
            put(cloud, f"odd/{key}", key.encode())
        assert keys(cloud, "odd/") == sorted(f"odd/{key}" for key in odd)
        assert [get(cloud, f"odd/{key}").decode() for key in odd] == odd
        outside = [path for path in tmp_path.rglob("*") if path.name == "up"]
        assert [path.is_relative_to(tmp_path / "cloud" / "s3" / BUCKET) for path in outside] == [
            True
        ]
        for key in odd:
            ask(cloud, "s3", "DeleteObject", Bucket=BUCKET, Key=f"odd/{key}")
        assert keys(cloud, "odd/") == []

    def test_etags_are_those_of_s3(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        # MD5 of nothing and of "abc": RFC 1321, A.5. Parts: MD5 over the MD5s of 8 MiB parts.
        put(cloud, "empty", b"")
        put(cloud, "abc", b"abc")
        tags = {item.uri.rpartition("/")[2]: item.etag for item in cloud.objects(f"s3://{BUCKET}/")}
        assert tags["empty"] == "d41d8cd98f00b204e9800998ecf8427e"
        assert tags["abc"] == "900150983cd24fb0d6963f7d28e17f72"
        put(cloud, "large", b"\0" * ((8 << 20) + 1))
        large = ask(cloud, "s3", "HeadObject", Bucket=BUCKET, Key="large")["ETag"]
        assert large.endswith('-2"')
        put(cloud, "whole", b"\0" * (8 << 20))
        whole = ask(cloud, "s3", "HeadObject", Bucket=BUCKET, Key="whole")["ETag"]
        assert whole == '"96995b58d4cbf6aaa9041b4f00c7f6ae"'

    def test_missing(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        with pytest.raises(CloudError) as caught:
            cloud.download(f"s3://{BUCKET}/none", tmp_path / "x")
        assert caught.value.code == "NoSuchKey"
        assert not (tmp_path / "x").exists()
        with pytest.raises(CloudError) as caught:
            list(cloud.objects("s3://no-such-bucket/"))
        assert caught.value.code == "NoSuchBucket"
        with pytest.raises(CloudError) as caught:
            ask(cloud, "s3", "HeadObject", Bucket=BUCKET, Key="none")
        assert caught.value.code == "404"
        with pytest.raises(CloudError) as caught:
            ask(cloud, "s3", "DeleteBucket", Bucket=BUCKET)
        assert caught.value.code == "BucketNotEmpty"

    def test_pages_and_folders(self, cloud: CheckedRehearsal) -> None:
        request = Request("s3", "ListObjectsV2", {"Bucket": BUCKET, "MaxKeys": 2})
        found = [item["Key"] for item in cloud.pages(request, "Contents")]
        assert found == keys(cloud)
        assert len(found) == 3
        answer = ask(cloud, "s3", "ListObjectsV2", Bucket=BUCKET, Prefix="datasets/", Delimiter="/")
        assert answer["CommonPrefixes"] == [{"Prefix": "datasets/a/"}, {"Prefix": "datasets/ab/"}]


def test_a_folder_that_goes_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that ends takes its temporary folders away while its checkpoints are copied."""
    for name in ("a/.temporary/x", "a/kept", "b/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    look = os.scandir

    def gone(place: str) -> object:
        if str(place).endswith(".temporary"):
            shutil.rmtree(place)
        return look(place)

    monkeypatch.setattr(os, "scandir", gone)
    found = [path.relative_to(tmp_path).as_posix() for path in files(tmp_path)]
    assert found == ["a/kept", "b/c"]
    assert files(tmp_path / "none") == []


class TestLife:
    def test_the_next_command_finds_what_was_made(self, tmp_path: Path) -> None:
        with rehearse(tmp_path / "c") as cloud:
            before = train(cloud, "kept")
            running = {"epochs": "9", "pause": "100"}
            sagemaker(cloud, "CreateTrainingJob", **training_job("cut", HyperParameters=running))
            wait(
                cloud,
                lambda: sagemaker(cloud, "DescribeTrainingJob", TrainingJobName="cut"),
                lambda job: job["SecondaryStatus"] == "Training",
            )
            began = time.monotonic()
        assert time.monotonic() - began < 10
        assert not (tmp_path / "c" / "work").exists()
        with rehearse(tmp_path / "c") as cloud:
            after = sagemaker(cloud, "DescribeTrainingJob", TrainingJobName="kept")
            assert after == before
            assert keys(cloud, "training/kept/output/model.tar.gz")
            cut = sagemaker(cloud, "DescribeTrainingJob", TrainingJobName="cut")
            assert cut["FailureReason"] == "ClientError: The rehearsal ended before the job did"

    def test_a_folder_has_one_region(self, tmp_path: Path) -> None:
        folder = tmp_path / "c"
        with pytest.raises(ConfigError, match="found 'us-eats-1'; did you mean 'us-east-1'"):
            Rehearsal(folder, region="us-eats-1")
        with Rehearsal(folder, region="us-east-1"):
            pass
        with Rehearsal(folder) as cloud:
            assert cloud.region == "us-east-1"
        message = "expected us-east-1, the region that is rehearsed in this folder, found eu-west-1"
        with pytest.raises(ConfigError, match=message):
            Rehearsal(folder, region="eu-west-1")
        with Rehearsal(tmp_path / "another") as cloud:
            assert cloud.region == "eu-west-1"

    def test_one_at_a_time(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="another command rehearses in this folder"):
            rehearse(tmp_path / "cloud")
        cloud.close()
        rehearse(tmp_path / "cloud").close()

    @pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
    def test_nothing_outlives_a_command_that_is_killed(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
            "from sagemaker_rehearsing import rehearse, sagemaker, training_job;"
            "cloud = rehearse(Path(sys.argv[2]));"
            "given = {'epochs': '9', 'pause': '600', 'orphan': 'yes'};"
            "job = training_job('long', HyperParameters=given);"
            "sagemaker(cloud, 'CreateTrainingJob', **job);"
            "print('begun', flush=True); cloud._site.ending.wait(600)"
        )
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "c")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            place = tmp_path / "c" / "work"
            orphan = _soon(
                lambda: [text for path in place.rglob("orphan") if (text := path.read_text())]
            )
            assert _alive(int(orphan[0]))
            process.kill()
        _soon(lambda: not _alive(int(orphan[0])))
        with rehearse(tmp_path / "c") as cloud:
            assert not place.exists()
            job = sagemaker(cloud, "DescribeTrainingJob", TrainingJobName="long")
            assert job["TrainingJobStatus"] == "Failed"

    def test_a_damaged_record(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        cloud.close()
        record = tmp_path / "cloud" / "state" / "buckets" / f"{BUCKET}.json"
        record.write_text("{half")
        with pytest.raises(FormatError, match="expected a record of a rehearsal; remove the file"):
            rehearse(tmp_path / "cloud")
        record.unlink()
        rehearse(tmp_path / "cloud").close()

    def test_planted_refusals(self, cloud: CheckedRehearsal) -> None:
        cloud.fail_next("ListModels", "ThrottlingException", "Rate exceeded")
        assert "Rate exceeded" in refused("ThrottlingException", cloud, "ListModels")
        assert sagemaker(cloud, "ListModels") == {"Models": []}

    def test_calls_are_kept_without_their_bodies(self, cloud: CheckedRehearsal) -> None:
        put(cloud, "secret", b"12345")
        assert cloud.calls[-1] == Request(
            "s3", "PutObject", {"Bucket": BUCKET, "Key": "secret", "Body": "<5 bytes>"}
        )

    def test_an_operation_that_is_not_known(self, cloud: CheckedRehearsal) -> None:
        assert "a rehearsal does not know this operation" in refused(
            "NotRehearsed", cloud, "ListProjects"
        )
