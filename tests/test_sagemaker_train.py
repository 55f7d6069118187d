"""Training at SageMaker: what is looked at, uploaded, waited for and brought home."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models import write_archive, write_bundle
from motrail.errors import ConfigError, FormatError, ModelError, OutputError
from motrail.sagemaker.datasets import check_dataset, dataset_uri, send_dataset
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.training import MODELS, TrainingPlan, attach, train
from motrail.sagemaker.watch import Epochs, JobError, LeftError
from sagemaker_jobs import PROJECT, Ears, FakeCloud, settings, silent, squares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.sagemaker.request import Request

DATA = "s3://motrail-bucket/datasets/data"
STEPS = [
    {"Status": "Starting", "StatusMessage": "Preparing the instances"},
    {"Status": "Training", "StatusMessage": "Training image download completed"},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("made") / "data")


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def cloud(tmp_path: Path) -> FakeCloud:
    return FakeCloud(tmp_path / "s3")


def described(status: str, steps: int, **more: Any) -> Mapping[str, Any]:
    return {
        "TrainingJobName": "job",
        "TrainingJobStatus": status,
        "SecondaryStatusTransitions": STEPS[:steps],
        "HyperParameters": {"epochs": "3"},
        "ModelArtifacts": {
            "S3ModelArtifacts": "s3://motrail-bucket/training/job/output/model.tar.gz"
        },
        "ResourceConfig": {"InstanceType": "ml.g6e.2xlarge", "InstanceCount": 1},
        "FinalMetricDataList": [{"MetricName": "validation:AP", "Value": 0.5}],
        "TrainingTimeInSeconds": 1000,
        "BillableTimeInSeconds": 300,
        **more,
    }


def plant_logs(cloud: FakeCloud, *lines: str) -> None:
    """A stream with these lines; a second look finds nothing new."""
    cloud.plant("DescribeLogStreams", {"logStreams": [{"logStreamName": "job/algo-1-170"}]})

    def events(request: Request) -> Mapping[str, Any]:
        first = "nextToken" not in request.parameters
        found = [{"timestamp": 1, "message": line} for line in lines] if first else []
        return {"events": found, "nextForwardToken": "f/1"}

    cloud.plant("GetLogEvents", events)


def plant_result(cloud: FakeCloud, tmp_path: Path, **others: bytes) -> None:
    """A bundle, and other files of the run, where SageMaker leaves them."""
    folder = write_bundle(tmp_path / "bundle")
    parts = {path.name: path.read_bytes() for path in folder.iterdir()}
    place = cloud.path("s3://motrail-bucket/training/job/output/model.tar.gz")
    place.parent.mkdir(parents=True)
    write_archive(place, parts)
    if others:
        write_archive(place.with_name("output.tar.gz"), others)


class TestDataset:
    def test_only_what_training_reads_goes_up(self, cloud: FakeCloud, dataset: Path) -> None:
        (dataset / "test" / "clip").mkdir(parents=True)
        (dataset / "test" / "clip" / "x.txt").write_text("x")
        (dataset / "train" / ".hidden").write_text("x")
        sent = send_dataset(cloud, PROJECT, dataset, silent)
        names = {item.uri.removeprefix(f"{DATA}/") for item in cloud.objects(f"{DATA}/")}
        assert sent.uri == DATA
        assert sent.uploaded == sent.files == len(names)
        assert {name.split("/")[0] for name in names} == {
            "annotations",
            "labels.txt",
            "train",
            "val",
        }
        assert not [name for name in names if ".hidden" in name]

    def test_the_second_time_only_what_changed(self, cloud: FakeCloud, dataset: Path) -> None:
        first = send_dataset(cloud, PROJECT, dataset, silent)
        cloud.uploads.clear()
        assert send_dataset(cloud, PROJECT, dataset, silent)[2:] == (0, 0)
        assert cloud.uploads == []
        gone = next((dataset / "train").rglob("*.png"))
        gone.unlink()
        (dataset / "labels.txt").write_text("square\nball\n")
        sent = send_dataset(cloud, PROJECT, dataset, silent)
        assert sent[1:] == (first.files - 1, 1, 1)
        assert cloud.uploads == [f"{DATA}/labels.txt", f"{DATA}.json"]
        assert not cloud.path(f"{DATA}/{gone.relative_to(dataset).as_posix()}").exists()

    def test_tags_that_are_no_md5_are_known_again_by_the_record(
        self, cloud: FakeCloud, dataset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cloud, "etag", lambda content: f"{len(content)}-2")
        send_dataset(cloud, PROJECT, dataset, silent)
        assert send_dataset(cloud, PROJECT, dataset, silent).uploaded == 0
        monkeypatch.setattr(cloud, "etag", lambda content: f"{len(content)}-3")
        again = send_dataset(cloud, PROJECT, dataset, silent)
        assert again.uploaded == again.files

    def test_a_broken_record_only_costs_time(self, cloud: FakeCloud, dataset: Path) -> None:
        send_dataset(cloud, PROJECT, dataset, silent)
        for text in ("[]", '{"a": 1}', "{", '{"a": ["b"]}'):
            cloud.path(f"{DATA}.json").write_text(text)
            assert send_dataset(cloud, PROJECT, dataset, silent).uploaded == 0

    def test_files_that_stay_though_they_are_none_of_it_any_more(
        self, cloud: FakeCloud, dataset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send_dataset(cloud, PROJECT, dataset)
        stale = cloud.path(f"{dataset_uri(PROJECT, dataset)}/train/old/img1/000001.jpg")
        stale.parent.mkdir(parents=True)
        stale.touch()
        refused = {"Errors": [{"Key": "old", "Code": "AccessDenied", "Message": "Access Denied"}]}
        call = cloud.call
        monkeypatch.setattr(
            cloud, "call", lambda one: refused if one.operation == "DeleteObjects" else call(one)
        )
        message = "1 objects could not be deleted, the first of them old: Access Denied"
        with pytest.raises(CloudError, match=message):
            send_dataset(cloud, PROJECT, dataset)

    def test_files_do_not_change_below_a_job_that_reads_them(
        self, cloud: FakeCloud, dataset: Path
    ) -> None:
        send_dataset(cloud, PROJECT, dataset, silent)
        (dataset / "labels.txt").write_text("ball\n")
        cloud.uploads.clear()
        cloud.plant("ListTrainingJobs", {"TrainingJobSummaries": [{"TrainingJobName": "other"}]})
        source = {"S3DataSource": {"S3Uri": f"{DATA}/"}}
        cloud.plant("DescribeTrainingJob", {"InputDataConfig": [{"DataSource": source}]})
        with pytest.raises(ConfigError, match=r"datasets/data: expected no job .* found other und"):
            send_dataset(cloud, PROJECT, dataset, silent)
        assert cloud.uploads == []
        assert cloud.path(f"{DATA}/labels.txt").read_text() == "square\n"

    def test_a_dataset_without_val_is_refused_with_the_command(self, dataset: Path) -> None:
        shutil.rmtree(dataset / "val")
        (dataset / "annotations" / "val.json").unlink()
        with pytest.raises(ConfigError, match="expected the splits train and val, found train; "):
            check_dataset(dataset)

    def test_a_dataset_with_faults_is_refused_with_their_kinds(self, dataset: Path) -> None:
        picture = next((dataset / "train").rglob("*.png"))
        picture.write_bytes(b"not a picture")
        with pytest.raises(FormatError, match=r"without faults, found 1 \(1 × broken-picture\)"):
            check_dataset(dataset)


class TestTrain:
    def run(
        self, cloud: FakeCloud, dataset: Path, output: Path | None, ears: Ears, **changes: Any
    ) -> Any:
        plan = TrainingPlan(dataset, "yolox-nano", {"epochs": 3, "input_width": 64})
        given = settings(**changes)
        return train(cloud, PROJECT, given, plan, output, ears.watcher(), progress=silent)

    def test_it_uploads_starts_waits_and_brings_home(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        plant_result(cloud, tmp_path, **{"metrics.jsonl": b"{}\n", "pictures/a.jpg": b"x"})
        plant_logs(cloud, "motrail: epoch=1 AP=0.5 loss=1")
        cloud.plant(
            "DescribeTrainingJob",
            described("InProgress", 1),
            described("InProgress", 2),
            described("Completed", 2),
        )
        ears = Ears()
        trained = self.run(cloud, dataset, tmp_path / "run", ears)
        assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
            "metrics.jsonl",
            "model.tar.gz",
            "pictures",
        ]
        assert trained.files == ("metrics.jsonl", "pictures/a.jpg")
        assert trained.metrics == {"validation:AP": 0.5}
        assert (trained.seconds, trained.billed_seconds) == (1000, 300)
        (created,) = cloud.asked("CreateTrainingJob")
        assert created["HyperParameters"] == {
            "model": "yolox-nano",
            "epochs": "3",
            "input_width": "64",
        }
        assert ears.lines[1:] == [
            f"job {created['TrainingJobName']}",
            "— Starting: Preparing the instances",
            "motrail: epoch=1 AP=0.5 loss=1",
            "— Training: Training image download completed",
        ]

    def test_nothing_is_uploaded_when_the_dataset_has_faults(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        next((dataset / "train").rglob("*.png")).write_bytes(b"")
        with pytest.raises(FormatError, match="expected a dataset without faults"):
            self.run(cloud, dataset, tmp_path / "run", Ears())
        assert (cloud.uploads, cloud.calls) == ([], [])

    def test_nothing_is_uploaded_when_the_quota_is_too_small(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        name = "ml.g6e.2xlarge for spot training job usage"
        quota = {"QuotaName": name, "QuotaCode": "L-1194F27D", "Value": 0.0, "Adjustable": True}
        cloud.plant("ListServiceQuotas", {"Quotas": [quota]})
        with pytest.raises(ConfigError, match=f"{name}: this account may use 0 .* L-1194F27D"):
            self.run(cloud, dataset, tmp_path / "run", Ears())
        assert cloud.uploads == []

    def test_on_demand_every_fallback_needs_its_quota(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        name = "ml.g5.2xlarge for training job usage"
        quota = {"QuotaName": name, "QuotaCode": "L-3AB86C07", "Value": 0.0, "Adjustable": True}
        cloud.plant("ListServiceQuotas", {"Quotas": [quota]})
        with pytest.raises(ConfigError, match=name):
            self.run(cloud, dataset, tmp_path / "run", Ears(), spot=False)

    def test_nothing_is_uploaded_when_the_request_breaks_a_rule(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=r"CreateTrainingJob: ResourceConfig\.InstanceType"):
            self.run(cloud, dataset, None, Ears(), training_instance="ml.bogus.xlarge")
        assert (cloud.uploads, cloud.calls) == ([], [])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": "yolox-huge"}, "--model: expected one of yolox-nano, .* found 'yolox-huge'"),
            ({"instances": 0}, "--instances: expected 1 to 100, found 0"),
            ({"weights": Path("no.pth")}, r"--weights no\.pth: expected a file, found none"),
            ({"classes": ("cube",)}, "--classes: expected names out of square, each once, found c"),
            (
                {"classes": ("square",), "names": {"square": "cube"}},
                "names out of cube, .* square;",
            ),
            ({"classes": ("square",) * 2}, "each once, found square, square"),
        ],
    )
    def test_what_the_container_would_refuse_is_refused_here(
        self, cloud: FakeCloud, dataset: Path, changes: dict[str, Any], message: str
    ) -> None:
        plan = TrainingPlan(dataset, **changes)
        with pytest.raises(ConfigError, match=message):
            train(cloud, PROJECT, settings(), plan, None, Ears().watcher(), progress=silent)
        assert (cloud.uploads, cloud.calls) == ([], [])

    def test_the_models_are_those_that_can_be_trained(self) -> None:
        from motrail.train.prepare import MODELS as TRAINED

        assert MODELS == TRAINED

    def test_a_full_folder_is_refused_first(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "x").write_text("x")
        with pytest.raises(OutputError, match="there is something in this folder already"):
            self.run(cloud, dataset, tmp_path / "run", Ears())
        assert cloud.calls == []

    def test_without_waiting_it_only_starts(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        trained = self.run(cloud, dataset, None, Ears())
        assert trained.bundle is None
        assert cloud.calls[-1].operation == "CreateTrainingJob"

    def test_weights_go_to_a_channel_of_their_own(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        weights = tmp_path / "my weights.pth"
        weights.write_bytes(b"w")
        plan = TrainingPlan(dataset, "yolox-nano", weights=weights)
        train(cloud, PROJECT, settings(), plan, None, Ears().watcher(), progress=silent)
        (created,) = cloud.asked("CreateTrainingJob")
        uri = created["InputDataConfig"][1]["DataSource"]["S3DataSource"]["S3Uri"]
        assert uri == f"s3://motrail-bucket/training/{created['TrainingJobName']}/weights/"
        assert [item.uri for item in cloud.objects(uri)] == [f"{uri}weights.pth"]


class TestWaiting:
    def wait(self, cloud: FakeCloud, tmp_path: Path, ears: Ears) -> Any:
        return attach(cloud, "job", tmp_path / "run", ears.watcher())

    def test_a_failed_job_says_why_and_shows_the_end_of_its_log(
        self, cloud: FakeCloud, tmp_path: Path
    ) -> None:
        plant_logs(cloud, *(f"line {number}" for number in range(100)), "error: no memory")
        reason = "AlgorithmError: no memory in account 123456789012"
        cloud.plant("DescribeTrainingJob", described("Failed", 2, FailureReason=reason))
        ears = Ears()
        with pytest.raises(JobError, match="^job job failed: AlgorithmError: no memory") as caught:
            self.wait(cloud, tmp_path, ears)
        assert "123456789012" not in str(caught.value)
        assert ears.lines[2:] == [*(f"line {n}" for n in range(81, 100)), "error: no memory"]
        assert not (tmp_path / "run").exists()

    def test_no_spare_instances_in_time(self, cloud: FakeCloud, tmp_path: Path) -> None:
        answer = described("Stopped", 2, SecondaryStatus="MaxWaitTimeExceeded")
        cloud.plant("DescribeTrainingJob", answer)
        with pytest.raises(JobError, match="was stopped: there were no spare instances in time; "):
            self.wait(cloud, tmp_path, Ears())

    def test_a_stopped_job_may_have_left_its_best(self, cloud: FakeCloud, tmp_path: Path) -> None:
        plant_result(cloud, tmp_path)
        answer = described("Stopped", 2, SecondaryStatus="MaxRuntimeExceeded")
        cloud.plant("DescribeTrainingJob", answer)
        trained = self.wait(cloud, tmp_path, Ears())
        assert trained.stopped.startswith("job job was stopped: its time was up; give it more with")
        assert (tmp_path / "run" / "model.tar.gz").is_file()

    def test_what_is_no_bundle_is_not_kept(self, cloud: FakeCloud, tmp_path: Path) -> None:
        place = cloud.path("s3://motrail-bucket/training/job/output/model.tar.gz")
        place.parent.mkdir(parents=True)
        write_archive(place, {"model.pt": b"pickle"})
        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        with pytest.raises(ModelError, match=r"model.onnx and model.json missing in the archive"):
            self.wait(cloud, tmp_path, Ears())
        assert not (tmp_path / "run").exists()

    def test_a_model_that_is_gone(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        with pytest.raises(CloudError, match=r"model.tar.gz: expected the model that the job made"):
            self.wait(cloud, tmp_path, Ears())
        assert not (tmp_path / "run").exists()

    def test_hostile_names_in_the_other_output_do_not_leave_the_folder(
        self, cloud: FakeCloud, tmp_path: Path
    ) -> None:
        plant_result(cloud, tmp_path, **{"../../evil.txt": b"x"})
        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        with pytest.raises(CloudError, match="this key cannot be a file below the folder"):
            self.wait(cloud, tmp_path, Ears())
        assert not list(tmp_path.rglob("evil.txt"))

    def test_links_in_the_other_output_are_left_out(self, cloud: FakeCloud, tmp_path: Path) -> None:
        plant_result(cloud, tmp_path)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as tar:
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        place = cloud.path("s3://motrail-bucket/training/job/output/output.tar.gz")
        place.write_bytes(content.getvalue())
        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        assert self.wait(cloud, tmp_path, Ears()).files == ()

    def test_a_cut_archive_is_said_to_be_one(self, cloud: FakeCloud, tmp_path: Path) -> None:
        plant_result(cloud, tmp_path, **{"log.txt": bytes(5000)})
        place = cloud.path("s3://motrail-bucket/training/job/output/output.tar.gz")
        place.write_bytes(place.read_bytes()[:40])
        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        with pytest.raises(FormatError, match=r"output.tar.gz: expected a tar archive"):
            self.wait(cloud, tmp_path, Ears())

    def test_a_damaged_archive_is_no_trouble_of_the_disk(
        self, cloud: FakeCloud, tmp_path: Path
    ) -> None:
        plant_result(cloud, tmp_path, **{"log.txt": bytes(50_000)})
        place = cloud.path("s3://motrail-bucket/training/job/output/output.tar.gz")
        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        plain = gzip.decompress(place.read_bytes())
        for length in (20_000, 50_000 + 1024):  # within the file, and where the next begins
            place.write_bytes(gzip.compress(plain[:length]) + b"no gzip")
            with pytest.raises(FormatError, match=r"output.tar.gz: expected a tar archive: "):
                self.wait(cloud, tmp_path, Ears())
        place.write_bytes(lzma.compress(b"no archive as SageMaker makes them"))
        with pytest.raises(FormatError, match=r"output.tar.gz: expected a tar archive: not a gzip"):
            self.wait(cloud, tmp_path, Ears())
        assert not (tmp_path / "run").exists()

    def test_a_full_disk_does_not_hide_where_the_model_is(
        self, cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OutputError("run: cannot be written: the disk is full")

        cloud.plant("DescribeTrainingJob", described("Completed", 2))
        monkeypatch.setattr(cloud, "download", full)
        ears = Ears()
        with pytest.raises(OutputError, match="the disk is full"):
            self.wait(cloud, tmp_path, ears)
        assert ears.lines[-1] == (
            "what job job made stays in S3; motrail sagemaker train --attach job brings it here, "
            "with -o to another folder"
        )

    def test_a_network_that_fails_does_not_hide_that_the_job_goes_on(
        self, cloud: FakeCloud, tmp_path: Path
    ) -> None:
        gone = CloudError("AWS cannot be reached", code="NoConnection")
        cloud.plant("DescribeTrainingJob", described("InProgress", 1), gone)
        ears = Ears()
        with pytest.raises(CloudError, match="AWS cannot be reached"):
            self.wait(cloud, tmp_path, ears)
        assert ears.lines[-1] == (
            "job job goes on, and costs what it costs; motrail sagemaker train --attach job waits "
            "for it again"
        )

    def test_lines_of_several_instances_say_which(self, cloud: FakeCloud, tmp_path: Path) -> None:
        streams = [{"logStreamName": f"job/algo-{n}-17"} for n in (1, 2)]
        cloud.plant("DescribeLogStreams", {"logStreams": streams})

        def events(request: Request) -> Mapping[str, Any]:
            message = request.parameters["logStreamName"]
            found = [{"message": message}] if "nextToken" not in request.parameters else []
            return {"events": found, "nextForwardToken": "f/1"}

        cloud.plant("GetLogEvents", events)
        cloud.plant("DescribeTrainingJob", described("Failed", 0))
        ears = Ears()
        with pytest.raises(JobError):
            self.wait(cloud, tmp_path, ears)
        assert ears.lines == ["[algo-1] job/algo-1-17", "[algo-2] job/algo-2-17"]

    def test_a_log_that_is_not_there_yet_is_empty(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant("DescribeLogStreams", CloudError("none", code="ResourceNotFoundException"))
        plant_result(cloud, tmp_path)
        cloud.plant("DescribeTrainingJob", described("InProgress", 1), described("Completed", 1))
        ears = Ears()
        self.wait(cloud, tmp_path, ears)
        assert ears.lines == ["— Starting: Preparing the instances"]

    def test_other_trouble_with_the_log_is_not_hidden(
        self, cloud: FakeCloud, tmp_path: Path
    ) -> None:
        cloud.plant("DescribeLogStreams", CloudError("not yours", code="AccessDeniedException"))
        cloud.plant("DescribeTrainingJob", described("InProgress", 1))
        with pytest.raises(CloudError, match="not yours"):
            self.wait(cloud, tmp_path, Ears())


class TestInterrupts:
    def interrupted(self, *_: object) -> Any:
        raise KeyboardInterrupt

    def test_left_running(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant("DescribeTrainingJob", self.interrupted)
        ears = Ears("leave")
        with pytest.raises(
            LeftError,
            match="job job goes on, and costs what it costs; motrail sagemaker train --attach job",
        ) as caught:
            attach(cloud, "job", tmp_path / "run", ears.watcher())
        assert caught.value.exit_code == 130
        assert ears.asked == ["job"]
        assert cloud.asked("StopTrainingJob") == []

    def test_stopped(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant("DescribeTrainingJob", self.interrupted)
        with pytest.raises(LeftError, match="job job is told to stop"):
            attach(cloud, "job", tmp_path / "run", Ears("stop").watcher())
        assert cloud.asked("StopTrainingJob") == [{"TrainingJobName": "job"}]

    def test_too_late_to_stop(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant("DescribeTrainingJob", self.interrupted)
        cloud.plant("StopTrainingJob", CloudError("is Completed", code="ValidationException"))
        with pytest.raises(LeftError, match="cannot be stopped, as it is over .* is Completed"):
            attach(cloud, "job", tmp_path / "run", Ears("stop").watcher())

    def test_waited_on(self, cloud: FakeCloud, tmp_path: Path) -> None:
        plant_result(cloud, tmp_path)
        cloud.plant("DescribeTrainingJob", self.interrupted, described("Completed", 0))
        ears = Ears("wait")
        assert attach(cloud, "job", tmp_path / "run", ears.watcher()).bundle is not None
        assert ears.asked == ["job"]

    def test_waited_on_nothing_is_told_twice(self, cloud: FakeCloud, tmp_path: Path) -> None:
        plant_result(cloud, tmp_path)
        plant_logs(cloud, "a line")
        running, done = described("InProgress", 1), described("Completed", 2)
        cloud.plant("DescribeTrainingJob", running, self.interrupted, done)
        ears = Ears("wait")
        attach(cloud, "job", tmp_path / "run", ears.watcher())
        assert ears.lines == [
            "— Starting: Preparing the instances",
            "a line",
            "— Training: Training image download completed",
        ]

    def test_in_the_midst_of_making_a_job_that_nobody_waits_for(
        self, cloud: FakeCloud, dataset: Path
    ) -> None:
        cloud.plant("CreateTrainingJob", self.interrupted)
        ears = Ears()
        plan = TrainingPlan(dataset, "yolox-nano")
        with pytest.raises(KeyboardInterrupt):
            train(cloud, PROJECT, settings(), plan, None, ears.watcher(), progress=silent)
        name = cloud.asked("CreateTrainingJob")[0]["TrainingJobName"]
        assert ears.lines[-1] == (
            f"job {name} may have been made; motrail sagemaker train --attach {name} tells"
        )

    def test_in_the_midst_of_making_the_job(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        plant_result(cloud, tmp_path)
        in_use = CloudError("there is one", code="ResourceInUse")
        cloud.plant("CreateTrainingJob", self.interrupted, in_use)
        cloud.plant("DescribeTrainingJob", described("Completed", 0))
        plan = TrainingPlan(dataset, "yolox-nano")
        ears = Ears("wait")
        watcher = ears.watcher()
        output = tmp_path / "run"
        trained = train(cloud, PROJECT, settings(), plan, output, watcher, progress=silent)
        assert trained.bundle == str(tmp_path / "run" / "model.tar.gz")
        assert len(cloud.asked("CreateTrainingJob")) == 2
        assert ears.asked == [cloud.asked("CreateTrainingJob")[0]["TrainingJobName"]]


class TestEpochs:
    def test_it_says_how_much_longer(self) -> None:
        lines: list[str] = []
        times = iter([0.0, 60.0, 120.0])
        epochs = Epochs(lines.append, 4, lambda: next(times))
        for line in (
            "loading",
            "motrail: epoch=1 AP=0.1 loss=3",
            "motrail: epoch=2 AP=0.2 loss=2",
            "motrail: epoch=4 AP=0.2 loss=2",
            "motrail: epoch=2 AP=0.2 loss=2",
        ):
            epochs.hear(line)
        assert lines == [
            "— epoch 1 of 4",
            "— epoch 2 of 4, about 2 min left",
            "— epoch 4 of 4",
        ]


def test_the_record_of_a_dataset_is_json_with_digest_and_tag(
    cloud: FakeCloud, dataset: Path
) -> None:
    send_dataset(cloud, PROJECT, dataset, silent)
    record = json.loads(cloud.path(f"{DATA}.json").read_bytes())
    # As md5sum has it for the one line.
    assert record["labels.txt"] == ["7c84b192cc57b2451f2834276f30c050"] * 2
