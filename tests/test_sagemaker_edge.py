"""A bundle as a Greengrass component: the recipe, the folder, and what makes AWS know it."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from models import spot_network
from motrail.detect.bundle import Bundle, read_bundle
from motrail.errors import ConfigError, ModelError, OutputError
from motrail.sagemaker.edge import artifact_uris, check, create, write_component
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.edge import Component, create_component, recipe
from motrail.sagemaker.rules import check as check_request
from sagemaker_endpoints import PROJECT, bundle, left
from sagemaker_jobs import FakeCloud
from sagemaker_rehearsing import rehearse

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/motrail/serve:0.1.0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle(tmp_path_factory.mktemp("model") / "spots")


def component(**changes: Any) -> Component:
    given = {
        "name": "motrail.spots",
        "version": "1.2.0",
        "image": IMAGE,
        "artifacts": artifact_uris(PROJECT, "motrail.spots", "1.2.0"),
    }
    return Component(**given | changes)


class TestRecipe:
    def test_what_a_device_gets(self) -> None:
        made = recipe(component(device="openvino", architectures=("amd64", "aarch64")))
        # The format's version and the names of members are those of AWS's recipe reference.
        assert made["RecipeFormatVersion"] == "2020-01-25"
        assert set(made["ComponentDependencies"]) == {
            "aws.greengrass.DockerApplicationManager",
            "aws.greengrass.TokenExchangeService",
        }
        assert made["ComponentConfiguration"]["DefaultConfiguration"] == {
            "port": 8080,
            "device": "openvino",
        }
        platforms = [manifest["Platform"] for manifest in made["Manifests"]]
        assert platforms == [
            {"os": "linux", "architecture": "amd64"},
            {"os": "linux", "architecture": "aarch64"},
        ]
        manifest = made["Manifests"][0]
        assert manifest["Artifacts"] == [
            {"URI": f"docker:{IMAGE}"},
            *(
                {
                    "URI": f"s3://{PROJECT.bucket}/edge/motrail.spots/1.2.0/{name}",
                    "Unarchive": "NONE",
                    "Permission": {"Read": "ALL"},
                }
                for name in ("model.onnx", "model.json")
            ),
        ]
        # A recipe may have one of Startup and Run, not both.
        assert set(manifest["Lifecycle"]) == {"Run", "Shutdown"}
        script = manifest["Lifecycle"]["Run"]["Script"]
        assert "-p 127.0.0.1:{configuration:/port}:8080" in script
        assert "-v {artifacts:path}:/opt/ml/model:ro" in script
        assert "-e MOTRAIL_DETECTOR_DEVICE={configuration:/device}" in script
        assert script.endswith(f"{IMAGE} serve")
        assert "--gpus" not in script

    def test_a_gpu_is_handed_on(self) -> None:
        made = recipe(component(device="cuda"))
        assert "--gpus all" in made["Manifests"][0]["Lifecycle"]["Run"]["Script"]

    def test_the_request(self) -> None:
        request = create_component(component(), PROJECT.tags())
        check_request(request)
        assert json.loads(request.parameters["inlineRecipe"]) == recipe(component())
        assert request.parameters["tags"] == {"motrail:project": "motrail"}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"name": "a b"}, "--name: expected up to 128 letters, digits, dots"),
            ({"name": "$(reboot)"}, "--name: expected up to 128 letters"),
            ({"name": "-rm"}, "--name: expected a letter or digit first, found '-rm'"),
            ({"version": "1.0"}, "--version: expected three numbers as in 1.0.0, found '1.0'"),
            ({"image": "a; rm -rf /"}, "--image: expected the URI of an image"),
            ({"port": 0}, "--port: expected 1 to 65535, found 0"),
            ({"architectures": ()}, "--architecture: expected amd64 or aarch64, found none"),
        ],
    )
    def test_what_may_not_stand_in_a_shell(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            check(component(**changes))


class TestFolder:
    def test_files(self, model: Bundle, tmp_path: Path) -> None:
        files = write_component(component(), model, tmp_path / "out")
        assert [str(path.relative_to(tmp_path / "out")) for path in files] == [
            "recipes/motrail.spots-1.2.0.json",
            "artifacts/motrail.spots/1.2.0/model.onnx",
            "artifacts/motrail.spots/1.2.0/model.json",
        ]
        assert json.loads(files[0].read_text()) == recipe(component())
        assert files[1].read_bytes() == spot_network()
        assert read_bundle(files[1].parent).spec == model.spec
        with pytest.raises(OutputError, match="there is something in this folder already"):
            write_component(component(), model, tmp_path / "out")

    def test_a_bare_network_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "bare.onnx"
        path.write_bytes(spot_network())
        with pytest.raises(ModelError, match=r"bare\.onnx: expected a bundle"):
            write_component(component(), read_bundle(path), tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestCreate:
    def test_made_known(self, model: Bundle, tmp_path: Path) -> None:
        cloud = FakeCloud(tmp_path / "cloud")
        cloud.plant("CreateComponentVersion", {"arn": "arn:aws:greengrass:x"})
        files = write_component(component(), model, tmp_path / "out")
        assert create(cloud, PROJECT, component(), files, lambda _: None) == "arn:aws:greengrass:x"
        assert cloud.uploads == list(component().artifacts)

    def test_a_refusal_leaves_nothing(self, model: Bundle, tmp_path: Path) -> None:
        cloud = FakeCloud(tmp_path / "cloud")
        cloud.plant("CreateComponentVersion", CloudError("there is one", code="ConflictException"))
        files = write_component(component(), model, tmp_path / "out")
        with pytest.raises(CloudError, match="there is one"):
            create(cloud, PROJECT, component(), files, lambda _: None)
        removed = [f"s3://{item['Bucket']}/{item['Key']}" for item in cloud.asked("DeleteObject")]
        assert removed == list(reversed(component().artifacts))

    def test_a_rehearsal_says_that_it_has_no_greengrass(
        self, model: Bundle, tmp_path: Path
    ) -> None:
        said: list[str] = []
        with rehearse(tmp_path / "cloud") as cloud:
            files = write_component(component(), model, tmp_path / "out")
            assert create(cloud, PROJECT, component(), files, said.append) is None
            assert left(cloud)["objects"] == sorted(component().artifacts)
        assert "CreateComponentVersion was checked" in said[-1]


def test_command(model: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from motrail.cli.sagemaker import edge as command

    patch = pytest.MonkeyPatch()
    with rehearse(tmp_path / "cloud") as cloud, patch.context():
        patch.setattr(command, "open_cloud", lambda *_: contextlib.nullcontext(cloud))
        patch.setattr("motrail.sagemaker.project.find_project", lambda *_: PROJECT)
        where = tmp_path / "out"
        code = command.edge_command(str(model.path), where, name="motrail.spots", dry_run=True)
        shown = json.loads(capsys.readouterr().out)
        assert (code, where.exists()) == (0, False)
        assert shown["parameters"]["inlineRecipe"]["ComponentName"] == "motrail.spots"
        assert command.edge_command(str(model.path), where, name="motrail.spots") == 0
        assert "not known to AWS yet: give --create" in capsys.readouterr().err
        made = json.loads((where / "recipes" / "motrail.spots-1.0.0.json").read_text())
        assert made["ComponentDescription"] == "Multi-object tracking by motrail: spots"
    patch.undo()
