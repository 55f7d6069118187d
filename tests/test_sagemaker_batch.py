"""Batches over videos in S3: how they are dealt, the tracks of `motrail track`, and going on."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from commands import caller
from models import spots_clip
from motrail.cli.app import run
from motrail.config import SageMakerSettings
from motrail.errors import ConfigError
from motrail.sagemaker import batch
from motrail.sagemaker.archive import deal, find_footage, stem
from motrail.sagemaker.batch import Order, bring, open_batch
from motrail.sagemaker.request import CloudError, ObjectInfo, Request
from motrail.sagemaker.rules import check
from motrail.sagemaker.watch import LeftError
from sagemaker_endpoints import PROJECT, SETTINGS, bundle, real
from sagemaker_jobs import KEY, Ears, FakeCloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.detect.bundle import Bundle
    from sagemaker_shapes import CheckedRehearsal

GIB = 1 << 30
PREFIX = "s3://footage/day/"
CLIPS = {"a": 12, "b": 13, "night/c": 14, "night/d": 15, "e": 16}


class Kit(NamedTuple):
    """What the tests only read: a model, five clips and their tracks, and a rehearsal."""

    model: Bundle
    folder: Path
    tracks: dict[str, bytes]
    cloud: CheckedRehearsal


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    base = tmp_path_factory.mktemp("kit")
    model, folder = bundle(base / "spots"), base / "footage"
    tracks = {}
    for name, frames in CLIPS.items():
        clip = folder / f"{name}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        spots_clip(clip, frames=frames)
        words = ["track", clip, "-m", model.path, "-o", base / "out", "--no-video"]
        assert run([str(word) for word in words]) == 0
        tracks[name] = (base / "out" / f"{clip.stem}.txt").read_bytes()
    with real(base / "cloud") as cloud:
        yield Kit(model, folder, tracks, cloud)


def infos(*sizes: int, ending: str = ".mp4") -> list[ObjectInfo]:
    return [ObjectInfo(f"{PREFIX}{n:03}{ending}", size, f"e{n}") for n, size in enumerate(sizes)]


class TestFootage:
    def test_videos_and_what_lies_beside_them(self) -> None:
        names = ("a.mp4", "b/c.MOV", "b/c.txt", "b/cover.jpg", ".hidden.mp4", "b/.x/d.mp4", "b/")
        found = find_footage([ObjectInfo(PREFIX + name, 5, "e") for name in names], PREFIX)
        assert (found.names, found.videos, found.images) == (("a.mp4", "b/c.MOV"), 2, False)
        assert found.manifest() == [{"prefix": PREFIX}, "a.mp4", "b/c.MOV"]
        assert found.only(["b/c.MOV"]).names == ("b/c.MOV",)

    def test_folders_of_images_stay_together(self) -> None:
        names = ("s1/img1/000001.jpg", "s1/img1/000002.jpg", "s2/1.png")
        found = find_footage([ObjectInfo(PREFIX + name, 5, "e") for name in names], PREFIX)
        assert (found.videos, found.images, found.units) == (2, True, ("s1", "s2"))
        assert found.only(["s2"]) == found
        assert set(found.tags()) == {"s1", "s2"}
        assert deal(found, 3, 50).way == "detect"
        with pytest.raises(ConfigError, match="--way videos: folders of images cannot be dealt"):
            deal(found, 2, 50, "videos")

    def test_nothing_and_hostile_names(self) -> None:
        with pytest.raises(ConfigError, match=f"{PREFIX}: expected videos or folders of images"):
            find_footage([ObjectInfo(f"{PREFIX}notes.txt", 5, "e")], PREFIX)
        with pytest.raises(CloudError, match="cannot be a file below the folder"):
            find_footage([ObjectInfo(f"{PREFIX}a/b\\c.mp4", 5, "e")], PREFIX)

    def test_results_may_not_meet(self) -> None:
        items = [ObjectInfo(f"{PREFIX}x/clip{end}", 5, "e") for end in (".mp4", ".mov")]
        with pytest.raises(ConfigError, match=r"x/clip\.mov and x/clip\.mp4: expected names that"):
            find_footage(items, PREFIX)
        assert stem("x/clip.v1.mp4") == "x/clip.v1"


class TestDeal:
    def test_many_videos_go_whole(self) -> None:
        found = deal(find_footage(infos(*[GIB] * 20), PREFIX), 4, 10)
        # Five of 1 GiB each, a tenth more, and 20 GiB besides.
        assert (found.way, found.instances, found.volume_gib) == ("videos", 4, 26)

    def test_few_long_ones_are_shared(self) -> None:
        found = deal(find_footage(infos(10 * GIB, 10 * GIB), PREFIX), 4, 10)
        assert (found.way, found.instances, found.volume_gib) == ("detect", 4, 42)

    def test_one_far_longer_than_the_rest_is_shared(self) -> None:
        found = deal(find_footage(infos(90 * GIB, *[GIB] * 10), PREFIX), 4, 10)
        assert found.way == "detect"

    def test_one_instance_needs_no_shares(self) -> None:
        assert deal(find_footage(infos(GIB), PREFIX), 1, 300).volume_gib == 300
        assert deal(find_footage(infos(GIB), PREFIX), 1, 10).way == "videos"

    def test_no_more_instances_than_videos(self) -> None:
        assert deal(find_footage(infos(GIB, GIB), PREFIX), 9, 10, "videos").instances == 2

    def test_what_does_not_fit(self) -> None:
        footage = find_footage(infos(20_000 * GIB), PREFIX)
        with pytest.raises(ConfigError, match="20,000 GiB for one instance, and a disk has up to"):
            deal(footage, 1, 10)
        for number in (0, 101):
            with pytest.raises(
                ConfigError, match=f"--instances: expected 1 to 100, found {number}"
            ):
                deal(footage, number, 10)


def fake(folder: Path, *names: str) -> FakeCloud:
    """A cloud whose jobs are planted, with videos."""
    cloud = FakeCloud(folder)
    for name in names:
        path = cloud.path(PREFIX + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())

    def read(request: Request) -> dict[str, Any]:
        given = request.parameters
        path = cloud.path(f"s3://{given['Bucket']}/{given['Key']}")
        if not path.is_file():
            raise CloudError("no such key", code="NoSuchKey")
        first = int(given["Range"].removeprefix("bytes=0-")) + 1
        body = path.read_bytes()
        return {"Body": body[:first], "ETag": f'"{cloud.etag(body)}"'}

    def write(request: Request) -> dict[str, Any]:
        """As S3 does: a condition that does not hold refuses."""
        given = request.parameters
        path = cloud.path(f"s3://{given['Bucket']}/{given['Key']}")
        there = f'"{cloud.etag(path.read_bytes())}"' if path.is_file() else None
        if (given.get("IfNoneMatch") and there) or given.get("IfMatch", there) != there:
            raise CloudError("PreconditionFailed", code="PreconditionFailed")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(given["Body"])
        return {"ETag": f'"{cloud.etag(given["Body"])}"'}

    def forget(request: Request) -> dict[str, Any]:
        given = request.parameters
        cloud.path(f"s3://{given['Bucket']}/{given['Key']}").unlink(missing_ok=True)
        return {}

    cloud.plant("GetObject", read)
    cloud.plant("PutObject", write)
    cloud.plant("DeleteObject", forget)
    return cloud


def row(name: str, state: str = "done", **more: Any) -> dict[str, Any]:
    return {
        "name": stem(name),
        "path": f"/opt/ml/processing/input/videos/{name}",
        "state": state,
        "reason": None,
        "frames": 3,
        "tracks": 1,
        "boxes": 3,
        "files": {"tracks": f"{stem(name)}.txt"} if state == "done" else {},
        **more,
    }


def result(cloud: FakeCloud, host: str, *rows: dict[str, Any]) -> None:
    """What a host leaves: its manifest and its files."""
    base = PROJECT.uri("batch", "nov", "tracks")
    path = cloud.path(f"{base}/batch{host}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"videos": list(rows)}))
    for each in rows:
        for file in each["files"].values():
            cloud.path(f"{base}/{file}").parent.mkdir(parents=True, exist_ok=True)
            cloud.path(f"{base}/{file}").write_text(host)


def opened(cloud: Any, model: Bundle, ears: Ears, source: str = PREFIX, **more: Any) -> Any:
    order = Order(**{"name": "nov", "source": source, "bundle": model, "instances": 3, **more})
    return open_batch(cloud, PROJECT, SETTINGS, order, ears.watcher())


class TestRequests:
    def test_videos(self, kit: Kit, tmp_path: Path) -> None:
        cloud = fake(tmp_path, *[f"{n}.mp4" for n in range(9)])
        order = Order("nov", PREFIX, kit.model, 3, None, ("--video", "--chunk=250"), "[tracker]\n")
        settings = SageMakerSettings(
            kms_key=KEY, subnets=("subnet-0a1b2c3d",), security_groups=("sg-0a1b2c3d",)
        )
        (request,) = batch.dry_run(open_batch(cloud, PROJECT, settings, order, Ears().watcher()))
        check(request)
        said = request.parameters
        assert said["AppSpecification"]["ContainerArguments"] == [
            "videos",
            "--video",
            "--chunk=250",
        ]
        inputs = {item["InputName"]: item["S3Input"] for item in said["ProcessingInputs"]}
        assert inputs["videos"]["S3DataDistributionType"] == "ShardedByS3Key"
        assert inputs["videos"]["S3DataType"] == "ManifestFile"
        assert inputs["model"]["S3DataDistributionType"] == "FullyReplicated"
        assert set(inputs) == {"videos", "model", "config"}
        assert said["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 3
        assert "VolumeKmsKeyId" not in said["ProcessingResources"]["ClusterConfig"]
        assert said["ProcessingOutputConfig"]["KmsKeyId"] == KEY
        assert said["NetworkConfig"]["VpcConfig"]["Subnets"] == ["subnet-0a1b2c3d"]
        assert said["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
        assert {"Key": "motrail:batch", "Value": "nov"} in said["Tags"]

    def test_shares(self, kit: Kit, tmp_path: Path) -> None:
        cloud = fake(tmp_path, "long.mp4")
        found = batch.dry_run(opened(cloud, kit.model, Ears()))
        for request in found:
            check(request)
        jobs = [request.parameters for request in found]
        assert [job["AppSpecification"]["ContainerArguments"] for job in jobs] == [
            ["detect"],
            ["associate"],
        ]
        counts = [job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] for job in jobs]
        assert counts == [3, 1]
        kept = {item["InputName"]: item["S3Input"]["S3Uri"] for item in jobs[1]["ProcessingInputs"]}
        assert kept["kept"] == PROJECT.uri("batch", "nov", "detections") + "/"

    def test_names(self, kit: Kit) -> None:
        with pytest.raises(ConfigError, match="--job: expected up to 63 letters, digits and"):
            Order("a/b", PREFIX, kit.model)

    def test_nothing_is_uploaded_for_jobs_that_cannot_be_had(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        cloud = fake(tmp_path)
        bogus = SageMakerSettings(processing_instance="ml.bogus.xlarge")
        order = Order("nov", str(kit.folder), kit.model, 2)
        with pytest.raises(ConfigError, match=r"InstanceType: .*found 'ml\.bogus\.xlarge'"):
            open_batch(cloud, PROJECT, bogus, order, Ears().watcher())
        with pytest.raises(ConfigError, match="--instances: expected 1 to 100, found 0"):
            Order("nov", str(kit.folder), kit.model, 0)
        assert cloud.uploads == []

    def test_only_what_changed_goes_up_again(self, kit: Kit, tmp_path: Path) -> None:
        cloud = fake(tmp_path)
        folder = tmp_path / "frames"
        folder.mkdir()
        for name in ("1.png", "2.png"):
            (folder / name).write_bytes(name.encode())
        opened(cloud, kit.model, Ears(), str(folder))
        (folder / "2.png").write_bytes(b"3.png")  # as large as before
        ears = Ears()
        opened(cloud, kit.model, ears, str(folder))
        assert ears.lines[0] == "uploading 1 of 2 files, 0.0 MB"
        ears = Ears()
        opened(cloud, kit.model, ears, str(folder))
        assert not any("uploading" in line for line in ears.lines)

    def test_tags_that_are_no_md5_are_known_again(
        self, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud = fake(tmp_path)
        monkeypatch.setattr(cloud, "etag", lambda content: f"kms{len(content)}")
        opened(cloud, kit.model, Ears(), str(kit.folder))
        ears = Ears()
        opened(cloud, kit.model, ears, str(kit.folder))
        assert not any("uploading" in line for line in ears.lines)

    def test_one_video(self, kit: Kit, tmp_path: Path) -> None:
        cloud = fake(tmp_path, "long.mp4", "long.mp4.txt", "other.mp4")
        made = opened(cloud, kit.model, Ears(), f"{PREFIX}long.mp4")
        assert made.footage.names == ("long.mp4",)
        with pytest.raises(ConfigError, match="expected s3://bucket/prefix, a folder or a video"):
            opened(cloud, kit.model, Ears(), str(tmp_path / "none"))


class TestFailures:
    def plant(self, cloud: FakeCloud, status: str, *hosts: Any, reason: str = "") -> None:
        def create(_request: Request) -> dict[str, Any]:
            for number, rows in enumerate(hosts, start=1):
                result(cloud, f"-algo-{number}", *rows)
            return {}

        cloud.plant("CreateProcessingJob", create)
        answer = {"ProcessingJobStatus": status, "FailureReason": reason}
        cloud.plant("DescribeProcessingJob", answer)
        cloud.plant("DescribeLogStreams", {"logStreams": []})

    def test_a_lost_host_is_told_by_video_and_only_that_is_done_again(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        names = [f"{n}.mp4" for n in range(6)]
        cloud = fake(tmp_path, *names)
        self.plant(
            cloud, "Failed", [row("0.mp4"), row("3.mp4")], [row("1.mp4"), row("4.mp4", "failed",
            reason="no video")], reason="AlgorithmError: exit code 137",
        )  # fmt: skip
        ears = Ears()
        rows = {item["name"]: item for item in batch.run(opened(cloud, kit.model, ears))}
        assert [rows[str(n)]["state"] for n in range(6)] == [
            "done", "done", "failed", "done", "failed", "failed",
        ]  # fmt: skip
        assert rows["4"]["reason"] == "no video"
        assert rows["2"]["reason"].endswith("failed: AlgorithmError: exit code 137")
        output = tmp_path / "out"
        assert bring(opened(cloud, kit.model, Ears()), list(rows.values()), output) == 3
        assert sorted(path.name for path in output.iterdir()) == [
            "0.txt", "1.txt", "3.txt", "batch.json",
        ]  # fmt: skip

        self.plant(cloud, "Completed", [row(f"{n}.mp4") for n in (2, 5)])
        rows = {item["name"]: item for item in batch.run(opened(cloud, kit.model, Ears()))}
        assert {name for name, item in rows.items() if item["state"] != "done"} == {"4"}
        assert rows["4"]["reason"] == "no video"
        manifest = cloud.path(PROJECT.uri("batch", "nov", "plan", "videos.json"))
        assert json.loads(manifest.read_text()) == [{"prefix": PREFIX}, "2.mp4", "5.mp4"]

        made = len(cloud.asked("CreateProcessingJob"))
        ears = Ears()
        (broken,) = [r for r in batch.run(opened(cloud, kit.model, ears)) if r["state"] != "done"]
        assert (broken["name"], broken["reason"]) == ("4", "no video")
        assert ears.lines[-2:] == [
            "videos that failed before and are what they were: 1; --retry tries them again",
            "everything else is done already",
        ]
        assert len(cloud.asked("CreateProcessingJob")) == made

        self.plant(cloud, "Completed", [row("4.mp4")])
        again = batch.run(opened(cloud, kit.model, Ears(), retry=True))
        assert {item["state"] for item in again} == {"done"}
        assert json.loads(manifest.read_text()) == [{"prefix": PREFIX}, "4.mp4"]
        base = cloud.path(PROJECT.uri("batch", "nov", "tracks"))
        assert [path.name for path in base.glob("*.json")] == ["batch.json"]

        made = len(cloud.asked("CreateProcessingJob"))
        batch.run(opened(cloud, kit.model, ears))
        assert ears.lines[-1] == "everything is done already"
        assert len(cloud.asked("CreateProcessingJob")) == made

    def test_a_failure_is_forgotten_with_its_video(self, kit: Kit, tmp_path: Path) -> None:
        """What changed is tried again, and so is all with other settings."""
        names = [f"{n}.mp4" for n in range(6)]
        cloud = fake(tmp_path, *names)
        failed = row("3.mp4", "failed", reason="no video")
        self.plant(cloud, "Completed", [row(name) for name in names if name[0] != "3"] + [failed])
        batch.run(opened(cloud, kit.model, Ears()))
        made = len(cloud.asked("CreateProcessingJob"))
        batch.run(opened(cloud, kit.model, Ears()))
        assert len(cloud.asked("CreateProcessingJob")) == made
        cloud.path(f"{PREFIX}3.mp4").write_bytes(b"another")
        batch.run(opened(cloud, kit.model, Ears()))
        manifest = cloud.path(PROJECT.uri("batch", "nov", "plan", "videos.json"))
        assert json.loads(manifest.read_text())[1:] == ["3.mp4"]
        batch.run(opened(cloud, kit.model, Ears(), arguments=("--video",)))
        assert json.loads(manifest.read_text())[1:] == names

    def test_no_fault_of_the_video_is_no_reason_to_leave_it_out(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        cloud = fake(tmp_path, *[f"{n}.mp4" for n in range(6)])
        for reason in ("first", "second"):
            self.plant(cloud, "Failed", [], reason=reason)
            rows = batch.run(opened(cloud, kit.model, Ears()))
            assert {item["reason"].rpartition(": ")[2] for item in rows} == {reason}
        assert len(cloud.asked("CreateProcessingJob")) == 2

    @pytest.mark.parametrize("all_fail", [False, True])
    def test_why_nothing_was_detected_is_not_lost(
        self, kit: Kit, tmp_path: Path, *, all_fail: bool
    ) -> None:
        """Shares write no manifest; each host tells of the videos that it detected in."""
        cloud = fake(tmp_path, "good.mp4", "bad.mp4")
        place = PROJECT.uri("batch", "nov", "detections")
        told = row("bad.mp4", "failed", reason="bad.mp4: broken from frame 3 on")

        def create(request: Request) -> dict[str, Any]:
            step = request.parameters["AppSpecification"]["ContainerArguments"][0]
            if step == "associate":
                result(cloud, "", row("good.mp4"), row("bad.mp4", "waiting"))
                return {}
            good = (
                row("good.mp4", "failed", reason="too") if all_fail else row("good.mp4", "detected")
            )
            for number, rows in enumerate(([told, good], [row("bad.mp4", "waiting")]), start=1):
                path = cloud.path(f"{place}/detected-algo-{number}.json")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"videos": rows}))
            if not all_fail:
                cloud.path(f"{place}/detections/good").mkdir(parents=True)
                cloud.path(f"{place}/detections/good/a.npz").touch()
            return {}

        self.plant(cloud, "Completed")
        cloud.plant("CreateProcessingJob", create)
        rows = {
            item["name"]: item for item in batch.run(opened(cloud, kit.model, Ears(), way="detect"))
        }
        assert rows["bad"]["reason"] == "bad.mp4: broken from frame 3 on"
        assert rows["good"]["state"] == ("failed" if all_fail else "done")
        steps = [job["AppSpecification"]["ContainerArguments"][0]
                 for job in cloud.asked("CreateProcessingJob")]  # fmt: skip
        assert steps == (["detect"] if all_fail else ["detect", "associate"])
        again = {r["name"]: r for r in batch.run(opened(cloud, kit.model, Ears(), way="detect"))}
        assert again["bad"]["reason"] == "bad.mp4: broken from frame 3 on"
        assert len(cloud.asked("CreateProcessingJob")) == len(steps)

    def test_a_changed_video_is_done_again(self, kit: Kit, tmp_path: Path) -> None:
        names = [f"{n}.mp4" for n in range(6)]
        cloud = fake(tmp_path, *names)
        self.plant(cloud, "Completed", [row(name) for name in names])
        batch.run(opened(cloud, kit.model, Ears()))
        cloud.path(f"{PREFIX}3.mp4").write_bytes(b"another")
        batch.run(opened(cloud, kit.model, Ears()))
        manifest = cloud.path(PROJECT.uri("batch", "nov", "plan", "videos.json"))
        assert json.loads(manifest.read_text())[1:] == ["3.mp4"]
        ears = Ears()
        batch.run(opened(cloud, kit.model, ears, config="[tracker]\nmatch_threshold = 0.9\n"))
        assert "other settings or another model: results are made anew" in ears.lines
        assert json.loads(manifest.read_text())[1:] == names

    def test_what_was_detected_goes_along(self, kit: Kit, tmp_path: Path) -> None:
        names = [f"{n}.mp4" for n in range(6)]
        cloud = fake(tmp_path, *names)
        self.plant(cloud, "Failed", [row("0.mp4")])
        batch.run(opened(cloud, kit.model, Ears()))
        base = PROJECT.uri("batch", "nov", "tracks")
        for name in ("0/a.npz", "2/a.npz", "2/.0123456789abcdef", "22/a.npz"):
            path = cloud.path(f"{base}/detections/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        batch.run(opened(cloud, kit.model, Ears()))
        kept = cloud.path(PROJECT.uri("batch", "nov", "plan", "kept.json"))
        assert json.loads(kept.read_text()) == [{"prefix": f"{base}/"}, "detections/2/a.npz"]
        inputs = cloud.asked("CreateProcessingJob")[-1]["ProcessingInputs"]
        given = {item["InputName"]: item["S3Input"] for item in inputs}
        assert given["kept"]["S3DataType"] == "ManifestFile"
        assert given["kept"]["S3DataDistributionType"] == "FullyReplicated"

    def test_ctrl_c_leaves_it_and_the_same_name_waits_again(self, kit: Kit, tmp_path: Path) -> None:
        cloud = fake(tmp_path, *[f"{n}.mp4" for n in range(6)])
        self.plant(cloud, "InProgress", [row(f"{n}.mp4") for n in range(6)])

        def interrupt(_seconds: float) -> None:
            raise KeyboardInterrupt

        patch = pytest.MonkeyPatch()
        patch.setattr(cloud, "sleep", interrupt)
        with pytest.raises(LeftError, match="the same command with --job nov"):
            batch.run(opened(cloud, kit.model, Ears("leave")))
        patch.undo()
        cloud.plant(
            "DescribeProcessingJob",
            {"ProcessingJobStatus": "InProgress"},
            {"ProcessingJobStatus": "Completed"},
        )
        ears = Ears()
        rows = batch.run(opened(cloud, kit.model, ears))
        assert len(cloud.asked("CreateProcessingJob")) == 1
        assert any("or of another command, still runs" in line for line in ears.lines)
        assert {item["state"] for item in rows} == {"done"}

    def test_hostile_manifests(self, kit: Kit, tmp_path: Path) -> None:
        cloud = fake(tmp_path, *[f"{n}.mp4" for n in range(6)])
        evil = row("0.mp4", files={"tracks": "../../evil.txt"})
        self.plant(cloud, "Completed", [evil, {"name": 3}, "x", row("9.mp4")])

        def create(_request: Request) -> dict[str, Any]:
            path = cloud.path(PROJECT.uri("batch", "nov", "tracks", "batch.json"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"videos": [evil, {"name": 3}, "x", row("9.mp4")]}))
            return {}

        cloud.plant("CreateProcessingJob", create)
        made = opened(cloud, kit.model, Ears())
        rows = batch.run(made)
        assert [item["name"] for item in rows] == [str(n) for n in range(6)]
        with pytest.raises(CloudError, match="cannot be a file below the folder"):
            bring(made, rows, tmp_path / "out")
        assert not (tmp_path / "evil.txt").exists()


class TestRehearsed:
    """The real containers on three instances."""

    def same(self, kit: Kit, output: Path) -> None:
        for name, tracks in kit.tracks.items():
            assert (output / f"{name}.txt").read_bytes() == tracks, name
        assert (output / "labels.txt").read_text() == "spot\n"

    def test_videos(self, kit: Kit, tmp_path: Path) -> None:
        """Five videos on three instances; one of them is broken, and then put right."""
        footage = tmp_path / "footage"
        shutil.copytree(kit.folder, footage)
        (footage / "b.mp4").write_bytes(b"no video")
        ears = Ears()
        given: dict[str, Any] = {
            "name": "many",
            "source": str(footage),
            "way": "videos",
            "config": "[detector]\nworkers = 1\n",
        }
        made = opened(kit.cloud, kit.model, ears, **given)
        rows = {item["name"]: item for item in batch.run(made)}
        assert [name for name, item in rows.items() if item["state"] != "done"] == ["b"]
        assert "b.mp4" in rows["b"]["reason"]
        assert {line[:8] for line in ears.lines if line.startswith("[algo")} == {
            "[algo-1]", "[algo-2]", "[algo-3]",
        }  # fmt: skip
        shutil.copyfile(kit.folder / "b.mp4", footage / "b.mp4")
        made = opened(kit.cloud, kit.model, Ears(), **given)
        found = batch.run(made)
        assert {item["state"] for item in found} == {"done"}
        bring(made, found, tmp_path / "out")
        self.same(kit, tmp_path / "out")

    def test_a_broken_video_in_shares(self, kit: Kit, tmp_path: Path) -> None:
        """It breaks where one instance detects; the row says how, and it is not tried again."""
        footage = tmp_path / "footage"
        footage.mkdir()
        shutil.copyfile(kit.folder / "a.mp4", footage / "a.mp4")
        (footage / "b.mp4").write_bytes(b"no video")
        given: dict[str, Any] = {
            "name": "broken",
            "source": str(footage),
            "way": "detect",
            "instances": 2,
            "arguments": ("--chunk=5",),
            "config": "[detector]\nworkers = 1\n",
        }
        rows = {
            item["name"]: item for item in batch.run(opened(kit.cloud, kit.model, Ears(), **given))
        }
        assert rows["a"]["state"] == "done"
        assert "b.mp4" in rows["b"]["reason"]
        place = PROJECT.uri("batch", "broken", "detections")
        names = {item.uri.removeprefix(f"{place}/") for item in kit.cloud.objects(f"{place}/")}
        assert {"detected-algo-1.json", "detected-algo-2.json"} <= names
        ears = Ears()
        again = {r["name"]: r for r in batch.run(opened(kit.cloud, kit.model, ears, **given))}
        assert again["b"] == rows["b"]
        assert ears.lines[-1] == "everything else is done already"

    def test_shares(self, kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        import contextlib

        from motrail.cli.sagemaker import batch as command

        patch = pytest.MonkeyPatch()
        patch.setenv("MOTRAIL_DETECTOR_WORKERS", "1")
        patch.setattr(command, "open_cloud", lambda *_: contextlib.nullcontext(kit.cloud))
        patch.setattr("motrail.sagemaker.project.find_project", lambda *_: PROJECT)
        patch.setattr("motrail.sagemaker.quotas.check_quota", lambda *_: None)
        with patch.context():
            code = command.batch_command(
                str(kit.folder), model=str(kit.model.path), output=tmp_path / "out", instances=3,
                way="detect", chunk=5, job="few", as_json=True,
            )  # fmt: skip
        patch.undo()
        assert code == 0
        document = json.loads(capsys.readouterr().out)
        assert document["job"] == "few"
        assert {item["state"] for item in document["videos"]} == {"done"}
        # Twelve to sixteen frames in chunks of five: three chunks, and of the last one four.
        assert sum(item["chunks"] for item in document["videos"]) == 3 * 4 + 4
        self.same(kit, tmp_path / "out")


@pytest.mark.parametrize("when", ["uploading", "tracking", "bringing"])
def test_ctrl_c_says_what_is_left(
    tmp_path: Path, kit: Kit, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    import contextlib

    from motrail.cli.sagemaker import batch as command

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    name = {"uploading": "archive.upload_files", "tracking": "batch.run", "bringing": "batch.bring"}
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(command, "open_cloud", lambda *_: contextlib.nullcontext(fake(tmp_path)))
        patch.setattr("motrail.sagemaker.project.find_project", lambda *_: PROJECT)
        patch.setattr("motrail.sagemaker.quotas.check_quota", lambda *_: None)
        patch.setattr("motrail.sagemaker.batch.run", lambda _batch: [])
        patch.setattr(f"motrail.sagemaker.{name[when]}", interrupt)
        stack.enter_context(pytest.raises(KeyboardInterrupt))
        command.batch_command(
            str(kit.folder), model=str(kit.model.path), output=tmp_path / "out", job="nov"
        )
    assert capsys.readouterr().err.endswith(
        "what was uploaded and tracked stays in S3, nothing of it half-made; the same command with "
        "--job nov goes on, motrail sagemaker cleanup removes it\n"
    )


def test_command_words(tmp_path: Path, kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    from motrail.cli.app import app
    from motrail.cli.sagemaker import sagemaker_app

    try:
        app["sagemaker"]
    except KeyError:
        app.command(sagemaker_app, name="sagemaker")
    call = caller(capsys, "sagemaker", "batch", str(kit.folder), "-m", str(kit.model.path))
    result = call("--chunk", 0, "--rehearse", tmp_path / "cloud")
    assert result.code == 2
    assert "--chunk: expected 1 to 1,000,000 frames, found 0" in result.err
    result = call("--rehearse", tmp_path / "cloud")
    assert result.code == 2
    assert "run: motrail sagemaker setup" in " ".join(result.err.split())
