"""The rehearsal's training, tuning and processing jobs, with a stand-in for the containers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from motrail.errors import ConfigError
from motrail.sagemaker.request import CloudError, Request
from sagemaker_rehearsing import (
    BUCKET,
    ROLE,
    SERVE_IMAGE,
    ask,
    get,
    keys,
    log_lines,
    members,
    put,
    rehearse,
    sagemaker,
    source,
    spot,
    steps,
    train,
    trained,
    training_job,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sagemaker_shapes import CheckedRehearsal

TRAINING_LOG = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CheckedRehearsal]:
    with rehearse(tmp_path / "cloud") as one:
        yield one


def refused(code: str, cloud: CheckedRehearsal, operation: str, **parameters: Any) -> str:
    with pytest.raises(CloudError) as caught:
        sagemaker(cloud, operation, **parameters)
    assert caught.value.code == code
    return str(caught.value)


class TestTraining:
    def test_a_job_runs_as_at_sagemaker(self, cloud: CheckedRehearsal) -> None:
        job = train(cloud, "one", Environment={"MOTRAIL_LOG": "debug"})
        assert job["TrainingJobStatus"] == "Completed"
        assert steps(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
        assert job["ModelArtifacts"]["S3ModelArtifacts"] == (
            f"s3://{BUCKET}/training/one/output/model.tar.gz"
        )
        figures = {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}
        assert figures == {"validation:AP": 0.1, "train:loss": 0.5}
        model = members(get(cloud, "training/one/output/model.tar.gz"))
        assert sorted(model) == ["127.0.0.1.txt", "config.json"]  # the link stays behind
        report = json.loads(members(get(cloud, "training/one/output/output.tar.gz"))["report.json"])
        assert [name for name in report["files"] if name.startswith("input")] == [
            "input/config/hyperparameters.json",
            "input/config/inputdataconfig.json",
            "input/config/resourceconfig.json",
            "input/data/dataset/train/1.txt",
            "input/data/dataset/val/2.txt",
        ]
        assert report["environment"]["TRAINING_JOB_NAME"] == "one"
        assert report["environment"]["MOTRAIL_LOG"] == "debug"

    def test_what_is_set_here_does_not_reach_the_container(
        self, cloud: CheckedRehearsal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
        monkeypatch.setenv("MOTRAIL_TRAIN_EPOCHS", "7")
        train(cloud, "one")
        report = json.loads(members(get(cloud, "training/one/output/output.tar.gz"))["report.json"])
        assert not {"AWS_SECRET_ACCESS_KEY", "MOTRAIL_TRAIN_EPOCHS"} & report["environment"].keys()

    def test_failure_file_becomes_the_reason(self, cloud: CheckedRehearsal) -> None:
        words = "x" * 2000
        job = train(cloud, "bad", HyperParameters={"fail": "yes", "words": words})
        assert job["TrainingJobStatus"] == "Failed"
        assert job["FailureReason"] == ("AlgorithmError: " + words)[:1024]
        other = train(cloud, "worse", HyperParameters={"fail": "yes"})
        assert other["FailureReason"] == "AlgorithmError: out of memory, exit code: 3"
        assert steps(other)[-1] == "Failed"

    def test_spot_interruption_goes_on_from_the_checkpoint(self, cloud: CheckedRehearsal) -> None:
        cloud.interrupt_training(after_epochs=2)
        parameters = {"epochs": "4", "pause": "0.3"}
        job = train(cloud, "spot", HyperParameters=parameters, **spot("spot"))
        assert steps(job) == [
            "Starting", "Downloading", "Training", "Interrupted",
            "Starting", "Downloading", "Training", "Uploading", "Completed",
        ]  # fmt: skip
        lines = log_lines(cloud, TRAINING_LOG, "spot/")
        assert [line for line in lines if line.startswith("starts")] == [
            "starts after epoch 0 with ['epochs', 'pause']",
            "starts after epoch 2 with ['epochs', 'pause']",
        ]
        assert "told to stop" in lines
        # Deletions are synced, too: only the last of the best is left.
        assert keys(cloud, "training/spot/checkpoints") == [
            "training/spot/checkpoints/best-4",
            "training/spot/checkpoints/epoch",
        ]

    def test_on_demand_instances_are_not_taken_away(self, cloud: CheckedRehearsal) -> None:
        cloud.interrupt_training(after_epochs=1)
        assert "Interrupted" not in steps(train(cloud, "one"))

    def test_stop(self, cloud: CheckedRehearsal) -> None:
        name, parameters = "long", {"epochs": "99", "pause": "1"}
        sagemaker(cloud, "CreateTrainingJob", **training_job(name, HyperParameters=parameters))
        wait(
            cloud,
            lambda: sagemaker(cloud, "DescribeTrainingJob", TrainingJobName=name),
            lambda job: job["SecondaryStatus"] == "Training",
        )
        wait(cloud, lambda: {"lines": _lines_or_none(cloud, name)}, lambda each: each["lines"])
        message = refused("ResourceInUse", cloud, "DeleteTrainingJob", TrainingJobName=name)
        assert "status InProgress" in message
        sagemaker(cloud, "StopTrainingJob", TrainingJobName=name)
        job = trained(cloud, name)
        assert job["TrainingJobStatus"] == "Stopped"
        assert steps(job)[-3:] == ["Stopping", "Uploading", "Stopped"]
        assert "stopped" in members(get(cloud, "training/long/output/model.tar.gz"))
        assert "status Stopped" in refused(
            "ValidationException", cloud, "StopTrainingJob", TrainingJobName=name
        )
        sagemaker(cloud, "DeleteTrainingJob", TrainingJobName=name)
        assert "Requested resource not found." in refused(
            "ValidationException", cloud, "DescribeTrainingJob", TrainingJobName=name
        )

    def test_who_does_not_listen_is_killed(self, tmp_path: Path) -> None:
        with rehearse(tmp_path, grace=0.2) as cloud:
            parameters = {"deaf": "yes", "epochs": "9", "pause": "600", "orphan": "yes"}
            limit = {"MaxRuntimeInSeconds": 1}
            job = train(cloud, "deaf", HyperParameters=parameters, StoppingCondition=limit)
            assert job["TrainingJobStatus"] == "Stopped"
            assert job["SecondaryStatus"] == "MaxRuntimeExceeded"
            orphan = int(members(get(cloud, "training/deaf/output/model.tar.gz"))["orphan"])
        assert not _alive(orphan)

    def test_several_hosts(self, cloud: CheckedRehearsal) -> None:
        resources = {
            "InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 10,
        }  # fmt: skip
        sharded = source(f"s3://{BUCKET}/datasets/a/", S3DataDistributionType="ShardedByS3Key")
        job = train(
            cloud,
            "two",
            ResourceConfig=resources,
            InputDataConfig=[{"ChannelName": "dataset", "DataSource": sharded}],
        )
        assert job["TrainingJobStatus"] == "Completed"
        model = members(get(cloud, "training/two/output/model.tar.gz"))
        assert sorted(model) == ["127.0.0.1.txt", "127.0.0.2.txt", "config.json"]
        assert model["config.json"] == b"127.0.0.1"
        report = json.loads(members(get(cloud, "training/two/output/output.tar.gz"))["report.json"])
        assert report["hosts"] == ["127.0.0.1", "127.0.0.2"]
        data = [name for name in report["files"] if "input/data" in name]
        assert data == ["input/data/dataset/train/1.txt"]
        answer = ask(
            cloud, "logs", "DescribeLogStreams",
            logGroupName=TRAINING_LOG, logStreamNamePrefix="two/",
        )  # fmt: skip
        names = [each["logStreamName"].rpartition("-")[0] for each in answer["logStreams"]]
        assert names == ["two/algo-1", "two/algo-2"]

    def test_one_host_that_fails_takes_the_others_along(self, cloud: CheckedRehearsal) -> None:
        resources = {
            "InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 10,
        }  # fmt: skip
        parameters = {"fail": "127.0.0.2", "epochs": "9", "pause": "100"}
        job = train(cloud, "two", ResourceConfig=resources, HyperParameters=parameters)
        assert job["FailureReason"] == "AlgorithmError: out of memory, exit code: 3"

    def test_a_prefix_is_one_of_letters(self, cloud: CheckedRehearsal) -> None:
        channel = {"ChannelName": "dataset", "DataSource": source(f"s3://{BUCKET}/datasets/a")}
        train(cloud, "loose", InputDataConfig=[channel])
        output = members(get(cloud, "training/loose/output/output.tar.gz"))
        files = json.loads(output["report.json"])["files"]
        assert "input/data/dataset/b/3.txt" in files

    def test_manifest(self, cloud: CheckedRehearsal) -> None:
        lines = [{"prefix": f"s3://{BUCKET}/datasets/"}, "ab/3.txt"]
        uri = put(cloud, "lists/one.manifest", json.dumps(lines).encode())
        data = {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": uri}}
        train(cloud, "listed", InputDataConfig=[{"ChannelName": "dataset", "DataSource": data}])
        output = members(get(cloud, "training/listed/output/output.tar.gz"))
        assert "input/data/dataset/ab/3.txt" in json.loads(output["report.json"])["files"]

    def test_what_is_refused(self, cloud: CheckedRehearsal) -> None:
        empty = {"ChannelName": "dataset", "DataSource": source(f"s3://{BUCKET}/nothing/")}
        message = refused(
            "ValidationException", cloud, "CreateTrainingJob",
            **training_job("x", InputDataConfig=[empty]),
        )  # fmt: skip
        assert f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing/"' in message
        train(cloud, "once")
        message = refused("ResourceInUse", cloud, "CreateTrainingJob", **training_job("once"))
        assert "Job name must be unique" in message
        cloud.faults.quotas["ml.g5.xlarge for training job usage"] = 0.0
        message = refused("ResourceLimitExceeded", cloud, "CreateTrainingJob", **training_job("y"))
        assert "'ml.g5.xlarge for training job usage' is 0 Instances" in message
        with pytest.raises(ConfigError, match="InstanceType"):
            wrong = {"InstanceType": "ml.bogus.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
            sagemaker(cloud, "CreateTrainingJob", **training_job("z", ResourceConfig=wrong))

    def test_without_capacity_the_next_type_is_taken(self, cloud: CheckedRehearsal) -> None:
        cloud.faults.no_capacity.add("ml.g6e.2xlarge")
        preferences = [{"InstanceType": "ml.g6e.2xlarge"}, {"InstanceType": "ml.g5.2xlarge"}]
        resources = {"InstanceCount": 1, "VolumeSizeInGB": 5, "InstancePreferences": preferences}
        job = train(cloud, "second", ResourceConfig=resources)
        assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.g5.2xlarge"
        cloud.faults.no_capacity.add("ml.g5.2xlarge")
        job = train(cloud, "none", ResourceConfig=resources)
        assert job["FailureReason"].startswith("CapacityError: Unable to provision")

    def test_list(self, cloud: CheckedRehearsal) -> None:
        for name in ("a-1", "a-2", "b-1"):
            train(cloud, name)
        train(cloud, "a-3", HyperParameters={"fail": "yes"})
        request = Request(
            "sagemaker",
            "ListTrainingJobs",
            {"NameContains": "a-", "MaxResults": 2, "SortBy": "Name", "SortOrder": "Ascending"},
        )
        found = list(cloud.pages(request, "TrainingJobSummaries"))
        assert [each["TrainingJobName"] for each in found] == ["a-1", "a-2", "a-3"]
        failed = sagemaker(cloud, "ListTrainingJobs", StatusEquals="Failed")
        assert len(failed["TrainingJobSummaries"]) == 1
        arn = found[0]["TrainingJobArn"]
        tags = sagemaker(cloud, "ListTags", ResourceArn=arn)["Tags"]
        assert tags == [{"Key": "motrail:project", "Value": "motrail"}]


def _lines_or_none(cloud: CheckedRehearsal, job: str) -> list[str]:
    try:
        return log_lines(cloud, TRAINING_LOG, f"{job}/")
    except CloudError:
        return []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or ") Z " not in state.read_text()


def tuning_job(name: str, strategy: str = "Bayesian", **more: Any) -> dict[str, Any]:
    definition = training_job("unused")
    del definition["TrainingJobName"], definition["Tags"]
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    ranges: dict[str, Any] = {
        "ContinuousParameterRanges": [
            {"Name": "rate", "MinValue": "0.1", "MaxValue": "0.9", "ScalingType": "Logarithmic"}
        ]
    }
    limits = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2}
    if strategy == "Grid":
        ranges = {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["0.2", "0.4"]}]}
        limits = {"MaxParallelTrainingJobs": 2}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:AP"},
            "ResourceLimits": limits,
            "ParameterRanges": ranges,
            "RandomSeed": 1,
        },
        "TrainingJobDefinition": definition | more,
    }


def tune(cloud: CheckedRehearsal, given: dict[str, Any]) -> dict[str, Any]:
    sagemaker(cloud, "CreateHyperParameterTuningJob", **given)
    name = given["HyperParameterTuningJobName"]
    found: dict[str, Any] = wait(
        cloud,
        lambda: sagemaker(
            cloud, "DescribeHyperParameterTuningJob", HyperParameterTuningJobName=name
        ),
        lambda job: job["HyperParameterTuningJobStatus"] in {"Completed", "Failed", "Stopped"},
    )
    return found


class TestTuning:
    def test_the_best_of_three(self, cloud: CheckedRehearsal) -> None:
        job = tune(cloud, tuning_job("search"))
        assert job["HyperParameterTuningJobStatus"] == "Completed"
        assert job["TrainingJobStatusCounters"]["Completed"] == 3
        trials = sagemaker(
            cloud,
            "ListTrainingJobsForHyperParameterTuningJob",
            HyperParameterTuningJobName="search",
            SortBy="FinalObjectiveMetricValue",
            SortOrder="Descending",
        )["TrainingJobSummaries"]
        rates = [float(trial["TunedHyperParameters"]["rate"]) for trial in trials]
        assert rates == sorted(rates, reverse=True)
        assert all(0.1 <= rate <= 0.9 for rate in rates)
        best = job["BestTrainingJob"]
        assert best == trials[0]
        metric = best["FinalHyperParameterTuningJobObjectiveMetric"]
        # The stand-in's AP is rate · epoch / 10, printed with four decimals.
        assert metric["Value"] == pytest.approx(rates[0] * 2 / 10, abs=5e-5)
        described = sagemaker(cloud, "DescribeTrainingJob", TrainingJobName=best["TrainingJobName"])
        assert described["TuningJobArn"] == job["HyperParameterTuningJobArn"]
        assert described["HyperParameters"] == {
            "epochs": "2",
            "rate": best["TunedHyperParameters"]["rate"],
            "_tuning_objective_metric": "validation:AP",
        }

    def test_the_same_seed_draws_the_same(self, cloud: CheckedRehearsal) -> None:
        one = tune(cloud, tuning_job("one"))["BestTrainingJob"]["TunedHyperParameters"]
        two = tune(cloud, tuning_job("two"))["BestTrainingJob"]["TunedHyperParameters"]
        assert one == two

    def test_grid(self, cloud: CheckedRehearsal) -> None:
        job = tune(cloud, tuning_job("grid", "Grid"))
        assert job["TrainingJobStatusCounters"]["Completed"] == 2
        assert job["BestTrainingJob"]["TunedHyperParameters"] == {"rate": "0.4"}

    def test_all_trials_fail(self, cloud: CheckedRehearsal) -> None:
        job = tune(cloud, tuning_job("bad", StaticHyperParameters={"fail": "yes"}))
        assert job["HyperParameterTuningJobStatus"] == "Failed"
        assert job["FailureReason"].startswith("No training job succeeded")
        assert job["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 3}

    def test_missing_and_stopped(self, cloud: CheckedRehearsal) -> None:
        assert "can't find a tuning job" in refused(
            "ResourceNotFound",
            cloud,
            "DescribeHyperParameterTuningJob",
            HyperParameterTuningJobName="none",
        )
        given = tuning_job("long", StaticHyperParameters={"epochs": "9", "pause": "100"})
        sagemaker(cloud, "CreateHyperParameterTuningJob", **given)
        name = "long"
        sagemaker(cloud, "StopHyperParameterTuningJob", HyperParameterTuningJobName=name)
        job = wait(
            cloud,
            lambda: sagemaker(
                cloud, "DescribeHyperParameterTuningJob", HyperParameterTuningJobName=name
            ),
            lambda each: each["HyperParameterTuningJobStatus"] == "Stopped",
        )
        assert "BestTrainingJob" not in job


def processing_job(name: str, arguments: list[str], count: int = 1, **more: Any) -> dict[str, Any]:
    base = "/opt/ml/processing"
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": SERVE_IMAGE,
            "ContainerEntrypoint": ["process"],
            "ContainerArguments": arguments,
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": count,
                "InstanceType": "ml.g5.xlarge",
                "VolumeSizeInGB": 10,
            }
        },
        "ProcessingInputs": [
            {
                "InputName": "videos",
                "S3Input": {
                    "S3Uri": f"s3://{BUCKET}/batch/b/input/",
                    "LocalPath": f"{base}/input/videos",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "ShardedByS3Key",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "results",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/batch/b/tracks",
                        "LocalPath": f"{base}/output",
                        "S3UploadMode": more.pop("mode", "EndOfJob"),
                    },
                }
            ]
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    } | more


def processed(cloud: CheckedRehearsal, given: dict[str, Any], videos: int = 5) -> dict[str, Any]:
    for index in range(videos):
        put(cloud, f"batch/b/input/{index}.mp4", b"")
    sagemaker(cloud, "CreateProcessingJob", **given)
    name = given["ProcessingJobName"]
    found: dict[str, Any] = wait(
        cloud,
        lambda: sagemaker(cloud, "DescribeProcessingJob", ProcessingJobName=name),
        lambda job: job["ProcessingJobStatus"] in {"Completed", "Failed", "Stopped"},
    )
    return found


class TestProcessing:
    @pytest.mark.parametrize("mode", ["EndOfJob", "Continuous"])
    def test_videos_are_dealt_to_hosts(self, cloud: CheckedRehearsal, mode: str) -> None:
        job = processed(cloud, processing_job("deal", ["videos", "--all"], 3, mode=mode))
        assert job["ProcessingJobStatus"] == "Completed"
        assert job["ExitMessage"] == "algo-1 is done"
        results = keys(cloud, "batch/b/tracks")
        assert results == [f"batch/b/tracks/algo-{number}.json" for number in (1, 2, 3)]
        shares = [json.loads(get(cloud, key)) for key in results]
        assert [share["files"] for share in shares] == [
            ["videos/0.mp4", "videos/3.mp4"],
            ["videos/1.mp4", "videos/4.mp4"],
            ["videos/2.mp4"],
        ]
        assert shares[0]["job"] == "deal"
        lines = log_lines(cloud, "/aws/sagemaker/ProcessingJobs", "deal/algo-2")
        assert lines == ["algo-2 of 3: ['videos', '--all']"]

    def test_failure(self, cloud: CheckedRehearsal) -> None:
        job = processed(cloud, processing_job("bad", ["fail"]))
        assert job["ProcessingJobStatus"] == "Failed"
        assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
        assert job["ExitMessage"] == "algo-1 is done"

    def test_stop_and_time_limit(self, cloud: CheckedRehearsal) -> None:
        limit = {"MaxRuntimeInSeconds": 1}
        job = processed(cloud, processing_job("slow", ["wait"], StoppingCondition=limit))
        assert job["ProcessingJobStatus"] == "Stopped"
        sagemaker(cloud, "CreateProcessingJob", **processing_job("more", ["wait"]))
        sagemaker(cloud, "StopProcessingJob", ProcessingJobName="more")
        wait(
            cloud,
            lambda: sagemaker(cloud, "DescribeProcessingJob", ProcessingJobName="more"),
            lambda each: each["ProcessingJobStatus"] == "Stopped",
        )

    def test_missing_input_and_job(self, cloud: CheckedRehearsal) -> None:
        sagemaker(cloud, "CreateProcessingJob", **processing_job("empty", ["videos"]))
        job = wait(
            cloud,
            lambda: sagemaker(cloud, "DescribeProcessingJob", ProcessingJobName="empty"),
            lambda each: each["ProcessingJobStatus"] == "Failed",
        )
        assert "No S3 objects found under S3 URL" in job["FailureReason"]
        assert "Could not find requested job with name: none" in refused(
            "ValidationException", cloud, "DescribeProcessingJob", ProcessingJobName="none"
        )
