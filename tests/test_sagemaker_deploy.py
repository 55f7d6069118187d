"""Deploying: what the requests say, what comes of them, and that failures leave nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from models import spot_network
from motrail.cli.app import run
from motrail.cli.sagemaker import deploy as commands
from motrail.cli.sagemaker.deploying import Common
from motrail.config import SageMakerSettings
from motrail.detect.bundle import Bundle, read_bundle
from motrail.errors import ConfigError, ModelError
from motrail.sagemaker.cuda import machine_image
from motrail.sagemaker.deployment import Deployment, Scaling, Share, pack
from motrail.sagemaker.endpoint import deploy, dry_run
from motrail.sagemaker.removal import DeployError, delete
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.requests.instances import has_gpu, has_local_disk
from motrail.sagemaker.rules import check
from motrail.sagemaker.takeback import TakeBack
from sagemaker_endpoints import PROJECT, SETTINGS, bundle, deployment, left, nothing
from sagemaker_jobs import KEY
from sagemaker_rehearsing import rehearse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sagemaker_shapes import CheckedRehearsal


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle(tmp_path_factory.mktemp("model") / "spots")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CheckedRehearsal]:
    with rehearse(tmp_path / "cloud") as made:
        yield made


def by_operation(requests: list[Request]) -> dict[str, dict[str, Any]]:
    """Parameters by operation; of two of a kind the later."""
    return {request.operation: request.parameters for request in requests}


class TestInstances:
    @pytest.mark.parametrize(
        ("instance", "gpu", "disk"),
        [
            ("ml.g6.xlarge", True, True),
            ("ml.g6e.2xlarge", True, True),
            ("ml.g4dn.xlarge", True, True),
            ("ml.p3.2xlarge", True, False),
            ("ml.p5.48xlarge", True, True),
            ("ml.m5.xlarge", False, False),
            ("ml.m5d.xlarge", False, True),
            ("ml.c6gd.xlarge", False, True),
            ("ml.c7i.xlarge", False, False),
        ],
    )
    def test_what_they_have(self, instance: str, *, gpu: bool, disk: bool) -> None:
        assert (has_gpu(instance), has_local_disk(instance)) == (gpu, disk)


class TestRequests:
    def test_real_time(self, model: Bundle) -> None:
        found = dry_run(PROJECT, SETTINGS, deployment(model, capture_percent=20), update=False)
        assert [request.operation for request in found] == [
            "CreateModel",
            "CreateEndpointConfig",
            "CreateEndpoint",
            "RegisterScalableTarget",
            "PutScalingPolicy",
        ]
        for request in found:
            check(request)
        said = by_operation(found)
        variant = said["CreateEndpointConfig"]["ProductionVariants"][0]
        assert variant["InferenceAmiVersion"] == machine_image().name
        assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.g6.xlarge", 1)
        capture = said["CreateEndpointConfig"]["DataCaptureConfig"]
        assert capture["InitialSamplingPercentage"] == 20
        assert capture["DestinationS3Uri"] == f"s3://{PROJECT.bucket}/capture/parcels"
        policy = said["PutScalingPolicy"]["TargetTrackingScalingPolicyConfiguration"]
        assert policy["TargetValue"] == 600
        assert policy["PredefinedMetricSpecification"] == {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }
        tag = {"Key": "motrail:project", "Value": "motrail"}
        for operation in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
            assert tag in said[operation]["Tags"]
        assert said["RegisterScalableTarget"]["Tags"]["motrail:project"] == "motrail"

    def test_a_processor_needs_no_machine_image(self, model: Bundle) -> None:
        settings = SageMakerSettings(serving_instance="ml.c7i.xlarge")
        said = by_operation(dry_run(PROJECT, settings, deployment(model), update=False))
        assert "InferenceAmiVersion" not in said["CreateEndpointConfig"]["ProductionVariants"][0]

    @pytest.mark.parametrize(
        ("cuda", "name"),
        [
            ("12.4", "al2-ami-sagemaker-inference-gpu-3-1"),
            ("13.0", "al2023-ami-sagemaker-inference-gpu-4-1"),
        ],
    )
    def test_the_images_cuda_says_the_machine_image(
        self, model: Bundle, cuda: str, name: str
    ) -> None:
        found = dry_run(PROJECT, SETTINGS, deployment(model, cuda=cuda), update=False)
        for request in found:
            check(request)
        config = by_operation(found)["CreateEndpointConfig"]
        assert config["ProductionVariants"][0]["InferenceAmiVersion"] == name
        assert {"Key": "motrail:cuda", "Value": cuda} in config["Tags"]

    def test_from_zero_with_both_policies(self, model: Bundle) -> None:
        wanted = deployment(model, "async", "night", concurrency=3, seconds=1200)
        found = dry_run(PROJECT, SETTINGS, wanted, update=False)
        for request in found:
            check(request)
        kinds = [r.parameters["PolicyType"] for r in found if r.operation == "PutScalingPolicy"]
        assert kinds == ["TargetTrackingScaling", "StepScaling"]
        said = by_operation(found)
        assert said["RegisterScalableTarget"]["MinCapacity"] == 0
        alarm = said["PutMetricAlarm"]
        assert alarm["MetricName"] == "HasBacklogWithoutCapacity"
        assert alarm["Dimensions"] == [{"Name": "EndpointName", "Value": "night"}]
        config = said["CreateEndpointConfig"]["AsyncInferenceConfig"]
        assert config["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 3}
        assert config["OutputConfig"] == {
            "S3OutputPath": f"s3://{PROJECT.bucket}/async/night/output",
            "S3FailurePath": f"s3://{PROJECT.bucket}/async/night/failure",
            "NotificationConfig": {
                "SuccessTopic": PROJECT.success_topic,
                "ErrorTopic": PROJECT.error_topic,
            },
        }
        container = said["CreateModel"]["PrimaryContainer"]["Environment"]
        assert container["MOTRAIL_SERVE_VIDEO_SECONDS"] == "1200"
        assert container["MOTRAIL_SERVE_VIDEOS"] == "3"
        assert container["MOTRAIL_SERVE_MAX_VIDEO_MB"] == "1024"

    def test_serverless(self, model: Bundle) -> None:
        wanted = deployment(model, "serverless", memory_mib=6144, concurrency=7)
        found = dry_run(PROJECT, SETTINGS, wanted, update=False)
        for request in found:
            check(request)
        assert [request.operation for request in found][-1] == "CreateEndpoint"
        assert by_operation(found)["CreateEndpointConfig"]["ProductionVariants"] == [
            {
                "VariantName": "main",
                "ModelName": found[0].parameters["ModelName"],
                "ServerlessConfig": {"MemorySizeInMB": 6144, "MaxConcurrency": 7},
            }
        ]

    def test_two_variants_share_the_traffic(self, model: Bundle) -> None:
        shares = (Share(model), Share(model, 0.25))
        wanted = Deployment("parcels", "realtime", shares, Scaling(1, 3))
        found = dry_run(PROJECT, SETTINGS, wanted, update=True)
        for request in found:
            check(request)
        said = by_operation(found)
        variants = said["CreateEndpointConfig"]["ProductionVariants"]
        assert [(v["VariantName"], v["InitialVariantWeight"]) for v in variants] == [
            ("variant-1", 1.0),
            ("variant-2", 0.25),
        ]
        assert len({variant["ModelName"] for variant in variants}) == 2
        assert said["UpdateEndpoint"]["EndpointName"] == "parcels"
        scaled = [r.parameters["ResourceId"] for r in found
                  if r.operation == "RegisterScalableTarget"]  # fmt: skip
        assert scaled == [f"endpoint/parcels/variant/variant-{n}" for n in (1, 2)]

    def test_what_scales_is_tagged_as_what_it_is(self, model: Bundle) -> None:
        for kind, low in (("realtime", 1), ("async", 1), ("async", 0)):
            wanted = deployment(model, kind, scaling=Scaling(low, 3))
            found = dry_run(PROJECT, SETTINGS, wanted, update=False)
            for request in found:
                check(request)
            target = by_operation(found)["RegisterScalableTarget"]
            assert (target["MinCapacity"], target["MaxCapacity"]) == (low, 3)
            assert target["Tags"]["motrail:kind"] == kind

    def test_keys_and_networks(self, model: Bundle) -> None:
        net: dict[str, Any] = {
            "kms_key": KEY,
            "subnets": ("subnet-0a1b2c3d",),
            "security_groups": ("sg-0a1b2c3d",),
        }
        wanted = deployment(model, capture_percent=1)
        said = by_operation(dry_run(PROJECT, SageMakerSettings(**net), wanted, update=False))
        assert said["CreateModel"]["VpcConfig"]["Subnets"] == ["subnet-0a1b2c3d"]
        assert said["CreateEndpointConfig"]["DataCaptureConfig"]["KmsKeyId"] == KEY
        # The disks of a g6 are its own, and a key for them is refused.
        assert "KmsKeyId" not in said["CreateEndpointConfig"]
        other = SageMakerSettings(**net, serving_instance="ml.m5.xlarge")
        assert by_operation(dry_run(PROJECT, other, wanted, update=False))[
            "CreateEndpointConfig"
        ]["KmsKeyId"] == KEY  # fmt: skip
        with pytest.raises(ConfigError, match="subnets: serverless endpoints are in no VPC"):
            dry_run(PROJECT, other, deployment(model, "serverless"), update=False)

    def test_the_longest_name_leaves_room(self, model: Bundle) -> None:
        for kind in ("realtime", "async"):
            for request in dry_run(
                PROJECT, SETTINGS, deployment(model, kind, "n" * 63), update=False
            ):
                check(request)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"name": "-a"}, "--name: expected up to 63 letters"),
            ({"name": "a" * 64}, "--name: expected up to 63 letters"),
            ({"scaling": Scaling(0, 1)}, "--min-instances: expected at least 1; only async"),
            ({"scaling": Scaling(1, 0)}, "--max-instances: expected 1 to 1000, found 0"),
            ({"scaling": Scaling(3, 2)}, "--max-instances: expected 3 to 1000, found 2"),
            ({"scaling": Scaling(1, 2, 0.0)}, "--target: expected 0.001 to 1e.06, found 0"),
            ({"capture_percent": 101}, "--capture-percent: expected 0 to 100, found 101"),
            ({"kind": "async", "capture_percent": 5}, "--capture-percent: async endpoints keep no"),
            ({"kind": "async", "seconds": 3601}, "--timeout: expected 1 to 3600, found 3601"),
            ({"kind": "serverless", "memory_mib": 1500}, "--memory: expected whole GiB"),
            ({"kind": "serverless", "memory_mib": 7168}, "--memory: expected 1024 to 6144"),
            ({"kind": "serverless", "concurrency": 201}, "--concurrency: expected 1 to 200"),
            ({"environment": {"MOTRAIL_SERVE_QEUE": "3"}}, "MOTRAIL_SERVE_QEUE: unknown; did you"),
            ({"environment": {"PATH": "/"}}, "--env: expected names that begin with MOTRAIL_"),
            ({"cuda": "99.0"}, "CUDA 99.0: no machine image"),
        ],
    )
    def test_what_cannot_be_had(self, model: Bundle, changes: dict[str, Any], message: str) -> None:
        given = {"name": "parcels", "kind": "realtime", "shares": (Share(model),)} | changes
        with pytest.raises(ConfigError, match=message):
            dry_run(PROJECT, SETTINGS, Deployment(**given), update=False)

    def test_several_models_are_for_real_time(self, model: Bundle) -> None:
        with pytest.raises(ConfigError, match="--variant: async endpoints have one model"):
            Deployment("a", "async", (Share(model), Share(model)))
        with pytest.raises(ConfigError, match="--variant: expected a weight above 0"):
            Deployment("a", "realtime", (Share(model, 0.0),))
        with pytest.raises(ConfigError, match="expected 1 to 10 models, found 11"):
            Deployment("a", "realtime", (Share(model),) * 11)


class TestPack:
    def test_two_files_and_always_the_same_bytes(self, model: Bundle, tmp_path: Path) -> None:
        (model.path / "secret.txt").write_text("stays here")
        pack(model, tmp_path / "a.tar.gz")
        pack(model, tmp_path / "b.tar.gz")
        assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
        with tarfile.open(tmp_path / "a.tar.gz") as archive:
            assert archive.getnames() == ["model.json", "model.onnx"]
        assert read_bundle(tmp_path / "a.tar.gz").spec == model.spec
        assert read_bundle(tmp_path / "a.tar.gz").onnx == spot_network()

    def test_a_bare_network_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "bare.onnx"
        path.write_bytes(spot_network())
        with pytest.raises(ModelError, match=r"bare\.onnx: expected a bundle .* found a bare"):
            Deployment("a", "realtime", (Share(read_bundle(path)),))


class Says(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


class TestDeploy:
    def test_made_and_removed(self, cloud: CheckedRehearsal, model: Bundle) -> None:
        said = Says()
        answer = deploy(cloud, PROJECT, SETTINGS, deployment(model), said)
        assert answer["EndpointStatus"] == "InService"
        there = left(cloud)
        assert there["endpoints"] == ["parcels"]
        assert there["targets"] == ["endpoint/parcels/variant/main"]
        assert said[-1] == "endpoint parcels: InService"
        delete(cloud, PROJECT, "parcels", said)
        assert nothing(cloud)
        with pytest.raises(ConfigError, match="there is no endpoint 'parcels'"):
            delete(cloud, PROJECT, "parcels", said)

    def test_what_is_there_stays_without_update(
        self, cloud: CheckedRehearsal, model: Bundle
    ) -> None:
        with pytest.raises(ConfigError, match="--update: there is no endpoint 'parcels'"):
            deploy(cloud, PROJECT, SETTINGS, deployment(model), Says(), update=True)
        deploy(cloud, PROJECT, SETTINGS, deployment(model), Says())
        before = left(cloud)
        with pytest.raises(ConfigError, match="there is an endpoint 'parcels' already: give"):
            deploy(cloud, PROJECT, SETTINGS, deployment(model), Says())
        with pytest.raises(ConfigError, match="is realtime and cannot become async"):
            deploy(cloud, PROJECT, SETTINGS, deployment(model, "async"), Says(), update=True)
        assert left(cloud) == before
        other = dataclasses.replace(PROJECT, name="other")
        with pytest.raises(ConfigError, match="was not made by the project 'other'; it stays"):
            delete(cloud, other, "parcels", Says())
        assert left(cloud) == before

    def test_update_takes_the_old_away(self, cloud: CheckedRehearsal, model: Bundle) -> None:
        deploy(cloud, PROJECT, SETTINGS, deployment(model), Says())
        before = left(cloud)
        shares = (Share(model), Share(model, 0.5))
        wanted = Deployment("parcels", "realtime", shares, Scaling(1, 3))
        settings = SageMakerSettings(serving_instance="ml.g5.xlarge")
        answer = deploy(cloud, PROJECT, settings, wanted, Says(), update=True)
        assert [v["VariantName"] for v in answer["ProductionVariants"]] == [
            "variant-1",
            "variant-2",
        ]
        after = left(cloud)
        assert after["endpoints"] == ["parcels"]
        assert len(after["configs"]) == 1
        assert after["configs"] != before["configs"]
        assert len(after["models"]) == len(after["objects"]) == 2
        assert not set(after["models"]) & set(before["models"])
        assert len(after["targets"]) == len(after["policies"]) == 2

    @pytest.mark.parametrize("lost", [False, True])
    @pytest.mark.parametrize(
        "operation",
        [
            "PutObject",
            "CreateModel",
            "CreateEndpointConfig",
            "CreateEndpoint",
            "DescribeEndpoint",
            "RegisterScalableTarget",
            "PutScalingPolicy",
            "PutMetricAlarm",
        ],
    )
    def test_a_failure_leaves_nothing(
        self, cloud: CheckedRehearsal, model: Bundle, operation: str, *, lost: bool
    ) -> None:
        """Refused, or done with the answer lost on the way."""
        broken = Broken(cloud, operation, after=1 if operation == "DescribeEndpoint" else 0)
        broken.lost = lost
        said = Says()
        with pytest.raises(CloudError, match="planted"):
            deploy(broken, PROJECT, SETTINGS, deployment(model, "async"), said)
        assert "taking back what was made" in said
        assert nothing(cloud), left(cloud)

    @pytest.mark.parametrize(
        "operation", ["CreateEndpointConfig", "UpdateEndpoint", "RegisterScalableTarget"]
    )
    def test_a_failed_update_puts_all_back(
        self, cloud: CheckedRehearsal, model: Bundle, operation: str
    ) -> None:
        deploy(cloud, PROJECT, SETTINGS, deployment(model, "async"), Says())
        before = left(cloud)
        broken = Broken(cloud, operation)
        broken.lost = True
        broken.times = 1
        with pytest.raises(CloudError, match="planted"):
            deploy(broken, PROJECT, SETTINGS, deployment(model, "async"), Says(), update=True)
        assert named(left(cloud)) == named(before)
        now = cloud.call(Request("sagemaker", "DescribeEndpoint", {"EndpointName": "parcels"}))
        assert [now["EndpointConfigName"]] == before["configs"]
        assert now["EndpointStatus"] == "InService"

    def test_what_is_put_back_is_tagged_as_it_was(
        self, cloud: CheckedRehearsal, model: Bundle
    ) -> None:
        always_one = deployment(model, "async", scaling=Scaling(1, 2, 2.0))
        deploy(cloud, PROJECT, SETTINGS, always_one, Says())
        broken = Broken(cloud, "UpdateEndpoint")
        broken.times = 1
        with pytest.raises(CloudError, match="planted"):
            deploy(broken, PROJECT, SETTINGS, always_one, Says(), update=True)
        registered = [r for r in cloud.calls if r.operation == "RegisterScalableTarget"]
        kinds = [request.parameters["Tags"]["motrail:kind"] for request in registered]
        assert kinds == ["async", "async"]

    def test_an_interrupt_leaves_nothing(
        self, cloud: CheckedRehearsal, model: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = Broken(cloud, "")
        monkeypatch.setattr(broken, "sleep", Interrupt(cloud.sleep))
        with pytest.raises(KeyboardInterrupt):
            deploy(broken, PROJECT, SETTINGS, deployment(model), Says())
        assert nothing(cloud), left(cloud)

    @pytest.mark.parametrize("done", [False, True])
    @pytest.mark.parametrize(
        "operation",
        ["PutObject", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "PutMetricAlarm"],
    )
    def test_an_interrupt_anywhere_leaves_nothing(
        self, cloud: CheckedRehearsal, model: Bundle, operation: str, *, done: bool
    ) -> None:
        """Ctrl-C in the midst of a request: nobody knows whether it arrived."""
        broken = Broken(cloud, operation)
        broken.error, broken.lost, broken.times = KeyboardInterrupt(), done, 1
        with pytest.raises(KeyboardInterrupt):
            deploy(broken, PROJECT, SETTINGS, deployment(model, "async"), Says())
        assert nothing(cloud), left(cloud)

    def test_what_goes_up_is_told_of(self, cloud: CheckedRehearsal, model: Bundle) -> None:
        steps: list[tuple[str, int, int | None]] = []
        wanted = deployment(model, scaling=Scaling())
        deploy(cloud, PROJECT, SETTINGS, wanted, Says(), progress=lambda *step: steps.append(step))
        (uri,) = left(cloud)["objects"]
        (size,) = [item.size for item in cloud.objects(uri)]
        assert (steps[0], steps[-1]) == (("uploading", 0, size), ("uploading", size, size))

    def test_a_second_interrupt_names_what_is_left(self) -> None:
        said, undone = Says(), []

        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), TakeBack(said) as back:
            back.note("config", lambda: undone.append("config"))
            back.note("endpoint", interrupted)
            back.note("alarm", lambda: undone.append("alarm"))
            raise CloudError("no", code="no")
        assert undone == ["alarm"]
        assert list(said)[-1] == (
            "could not be removed, see motrail sagemaker cleanup: endpoint; config"
        )

    def test_a_container_that_is_ill_tells_why(
        self, cloud: CheckedRehearsal, model: Bundle
    ) -> None:
        ill = IllCloud(cloud)
        said = Says()
        with pytest.raises(DeployError, match=r"endpoint parcels did not come to life \(Failed\)"):
            deploy(ill, PROJECT, SETTINGS, deployment(model), said)
        assert nothing(cloud)
        assert "  no such model" in said


def named(there: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without what AWS itself puts at the end of the names of its alarms."""
    alarms = [re.sub(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "", name)
              for name in there["alarms"]]  # fmt: skip
    return there | {"alarms": alarms}


class Broken:
    """A cloud that fails at one operation."""

    def __init__(self, cloud: CheckedRehearsal, operation: str, after: int = 0) -> None:
        self._cloud, self._operation, self._after = cloud, operation, after
        self.lost = False
        self.times = 99
        self.error: BaseException = CloudError("planted", code="Timeout")
        self.region, self.rehearsal = cloud.region, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cloud, name)

    def sleep(self, seconds: float) -> None:
        self._cloud.sleep(seconds)

    def _fails(self, operation: str) -> bool:
        if operation != self._operation or not self.times:
            return False
        self._after -= 1
        if self._after >= 0:
            return False
        self.times -= 1
        if operation == "DescribeEndpoint":
            self.times = 0  # what takes back has to look, too
        return True

    def upload(self, path: Path, uri: str, **more: Any) -> None:
        fails = self._fails("PutObject")
        if not fails or self.lost:
            self._cloud.upload(path, uri, **more)
        if fails:
            raise self.error

    def call(self, request: Request) -> dict[str, Any]:
        fails = self._fails(request.operation)
        if fails and not self.lost:
            raise self.error
        answer = self._cloud.call(request)
        if fails:
            raise self.error
        return answer


class Interrupt:
    """Ctrl-C at the first wait."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep, self._came = sleep, False

    def __call__(self, seconds: float) -> None:
        if not self._came:
            self._came = True
            raise KeyboardInterrupt
        self._sleep(seconds)


class IllCloud(Broken):
    """A cloud whose containers never become well."""

    def __init__(self, cloud: CheckedRehearsal) -> None:
        super().__init__(cloud, "")

    def call(self, request: Request) -> dict[str, Any]:
        if request.operation == "CreateModel":
            container = request.parameters["PrimaryContainer"]
            container["Environment"] |= {"CRASH": "no room for the network"}
        return super().call(request)


class TestCommand:
    @pytest.fixture
    def call(self, cloud: CheckedRehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
        """The commands with the rehearsal of the test."""
        for module in ("deploying", "deploy"):
            monkeypatch.setattr(
                f"motrail.cli.sagemaker.{module}.open_cloud",
                lambda *_: contextlib.nullcontext(cloud),
            )
        monkeypatch.setattr("motrail.sagemaker.project.find_project", lambda *_: PROJECT)

    @pytest.mark.usefixtures("call")
    def test_from_dry_run_to_removal(
        self, cloud: CheckedRehearsal, model: Bundle, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["async", str(model.path), "-n", "night", "--env", "MOTRAIL_SERVE_QUEUE=9"]
        assert run(["sagemaker", "deploy", *words, "--dry-run"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (
            shown[0]["parameters"]["PrimaryContainer"]["Environment"]["MOTRAIL_SERVE_QUEUE"] == "9"
        )
        assert nothing(cloud)
        assert run(["sagemaker", "deploy", *words, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["call"] == "motrail sagemaker invoke night VIDEO"
        assert document["remove"] == "motrail sagemaker deploy delete night"
        assert (document["kind"], document["status"]) == ("async", "InService")
        assert commands.delete_command("night") == 1  # nobody said yes
        assert left(cloud)["endpoints"] == ["night"]
        assert commands.delete_command("night", yes=True) == 0
        assert nothing(cloud)

    @pytest.mark.usefixtures("call")
    def test_what_it_says(
        self, cloud: CheckedRehearsal, model: Bundle, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = str(model.path)
        words = ["realtime", path, "-n", "eye", "--variant", f"{path}=0.5"]
        assert run(["sagemaker", "deploy", *words]) == 0
        out = capsys.readouterr().out
        assert "motrail remote track VIDEO --endpoint eye" in out
        assert "1 × ml.g6.xlarge an hour" in out
        assert run(["sagemaker", "deploy", "serverless", path, "-n", "less"]) == 0
        assert "--endpoint less --track client" in capsys.readouterr().out

    @pytest.mark.usefixtures("call")
    def test_no_instances_are_not_the_default(
        self, model: Bundle, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["sagemaker", "deploy", "realtime", str(model.path), "-n", "a"]
        assert run([*words, "--max-instances", "0"]) == 2
        assert "--max-instances: expected 1 to 1000, found 0" in capsys.readouterr().err

    def test_wrong_words(self, model: Bundle) -> None:
        path = str(model.path)
        for word in (path, f"{path}=-1", f"{path}=nan", "=1"):
            with pytest.raises(ConfigError, match="--variant: expected BUNDLE=WEIGHT as in"):
                commands.realtime_command(path, common=Common(name="eye"), variant=(word,))
        with pytest.raises(ConfigError, match="--env: expected NAME=VALUE, found 'A'"):
            commands.realtime_command(path, common=Common(name="eye", env=("A",)))


def test_dry_run_is_plain_json(model: Bundle) -> None:
    found = dry_run(PROJECT, SETTINGS, deployment(model, "async"), update=False)
    assert json.loads(json.dumps([request._asdict() for request in found]))
