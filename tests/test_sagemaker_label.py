"""Labelling in Ground Truth: the input as AWS wants it, and the labels home as a dataset."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models import spots_clip
from motrail.dataset.folder import open_dataset
from motrail.errors import ConfigError, FormatError
from motrail.formats.labels import Labels
from motrail.sagemaker.footage import LabelingPlan, prepare
from motrail.sagemaker.labeling import collect, go_on, label
from motrail.sagemaker.rehearsal import Rehearsal
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.requests.labeling import (
    ACCOUNTS,
    LabelingOrder,
    category_file,
    create_labeling_job,
    task_account,
)
from motrail.sagemaker.rules import check
from motrail.sagemaker.watch import JobError, LeftError
from sagemaker_jobs import KEY, PROJECT, WORKTEAM, Ears, FakeCloud, settings, silent, squares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACE = "s3://motrail-bucket/labeling/job/input"
ORDER = LabelingOrder(
    "job", "label", f"{PLACE}/input.manifest", f"{PLACE}/label-categories.json",
    "s3://motrail-bucket/labeling/job/output", WORKTEAM,
)  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spots_clip(tmp_path_factory.mktemp("clips") / "spots.mp4", frames=10)


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    """Ten frames of one object, which is 20 pixels wide and goes right by 2 in each frame."""
    folder = tmp_path / "tracks"
    folder.mkdir()
    rows = [f"{n},7,{10 + 2 * n},30,20,40,0.9,1,-1\n" for n in range(1, 11)]
    (folder / "spots.txt").write_text("".join(rows))
    (folder / "labels.txt").write_text("spot\n")
    return folder


def request(order: LabelingOrder = ORDER, region: str = "eu-west-1", **changes: Any) -> Any:
    project = dataclasses.replace(PROJECT, region=region)
    return create_labeling_job(order, project, settings(**changes))


class TestRequest:
    def test_it_has_what_the_api_reference_asks_for(self) -> None:
        found = request()
        check(found)
        task = found.parameters["HumanTaskConfig"]
        # Written out as the API reference has them for eu-west-1.
        assert task["PreHumanTaskLambdaArn"] == (
            "arn:aws:lambda:eu-west-1:568282634449:function:PRE-VideoObjectTracking"
        )
        assert task["AnnotationConsolidationConfig"] == {
            "AnnotationConsolidationLambdaArn": (
                "arn:aws:lambda:eu-west-1:568282634449:function:ACS-VideoObjectTracking"
            )
        }
        assert task["UiConfig"] == {
            "HumanTaskUiArn": (
                "arn:aws:sagemaker:eu-west-1:394669845002:human-task-ui/VideoObjectTracking"
            )
        }
        assert task["NumberOfHumanWorkersPerDataObject"] == 1
        assert found.parameters["LabelAttributeName"] == "job-ref"
        assert "LabelingJobAlgorithmsConfig" not in found.parameters

    @pytest.mark.parametrize("kind", ["adjust", "verify"])
    def test_labels_that_are_there_have_functions_of_their_own(self, kind: Any) -> None:
        found = request(dataclasses.replace(ORDER, kind=kind))
        check(found)
        task = found.parameters["HumanTaskConfig"]
        assert task["PreHumanTaskLambdaArn"].endswith(":PRE-AdjustmentVideoObjectTracking")
        assert task["UiConfig"]["HumanTaskUiArn"].endswith("/VideoObjectTracking")

    def test_the_accounts_are_those_of_the_service_model(self) -> None:
        session = importlib.import_module("botocore.session")  # which has no types
        model = session.get_session().get_service_model("sagemaker")
        text = model.shape_for("HumanTaskConfig").members["PreHumanTaskLambdaArn"].documentation
        for region, account in ACCOUNTS.items():
            assert f"arn:aws:lambda:{region}:{account}:function:PRE-VideoObjectTracking" in text
        assert text.count(":function:PRE-VideoObjectTracking") == len(ACCOUNTS)

    def test_a_region_without_an_account_is_refused_with_the_list(self) -> None:
        with pytest.raises(
            ConfigError, match=r"region eu-north-1: expected one .* \(ap-northeast-1, .*us-west-2\)"
        ):
            task_account("eu-north-1")

    @pytest.mark.parametrize("hours", [0.0, 721.0])
    def test_a_task_has_up_to_thirty_days(self, hours: float) -> None:
        with pytest.raises(ConfigError, match=r"--hours: expected up to 720 \(30 days\), found"):
            request(dataclasses.replace(ORDER, hours=hours))

    def test_results_are_encrypted_with_the_key(self) -> None:
        assert request(kms_key=KEY).parameters["OutputConfig"]["KmsKeyId"] == KEY


class TestCategories:
    WRITTEN: Mapping[str, Any] = {
        "documentVersion": "2020-03-01",
        "labels": [{"label": "car", "editsAllowed": "any"}],
        "categoryGlobalAttributes": [{"name": "ratio_vis", "editsAllowed": "any"}],
        "frameAttributes": [],
        "auditLabelAttributeName": "job-pre-ref",
    }

    def test_from_nothing_nothing_is_audited(self) -> None:
        found = category_file(self.WRITTEN, "label")
        assert "auditLabelAttributeName" not in found
        assert "editsAllowed" not in json.dumps(found)

    def test_what_is_verified_cannot_be_edited(self) -> None:
        found = category_file(self.WRITTEN, "verify")
        assert found["labels"] == [{"label": "car", "editsAllowed": "none"}]
        old, new = found["categoryGlobalAttributes"]
        assert (old["editsAllowed"], new["editsAllowed"]) == ("none", "any")
        assert (new["name"], new["enum"]) == ("verdict", ["right", "wrong"])
        assert found["auditLabelAttributeName"] == "job-pre-ref"

    def test_there_are_never_more_than_ten_attributes(self) -> None:
        many = [{"name": f"a{n}"} for n in range(10)]
        found = category_file({**self.WRITTEN, "categoryGlobalAttributes": many}, "verify")
        assert len(found["categoryGlobalAttributes"]) == 10

    def test_what_was_given_stays_as_it_is(self) -> None:
        before = json.dumps(self.WRITTEN)
        for kind in ("label", "adjust", "verify"):
            category_file(self.WRITTEN, kind)
        assert json.dumps(self.WRITTEN) == before


class TestPrepare:
    def run(self, plan: LabelingPlan, folder: Path) -> Any:
        return prepare(plan, folder / "input", PLACE, "job-pre", silent)

    def test_a_video_from_nothing(self, clip: Path, tmp_path: Path) -> None:
        found = self.run(LabelingPlan([clip], ["spot"]), tmp_path)
        assert (found.kind, found.sequences, found.frames) == ("label", 1, 10)
        folder = tmp_path / "input"
        assert (folder / "input.manifest").read_text() == (
            f'{{"source-ref": "{PLACE}/sequences/spots.json"}}\n'
        )
        sequence = json.loads((folder / "sequences" / "spots.json").read_bytes())
        assert sequence["prefix"] == f"{PLACE}/frames/spots/"
        assert sequence["number-of-frames"] == 10
        assert sequence["frames"][9] == {"frame-no": 9, "frame": "000010.jpg"}
        pictures = sorted(p.name for p in (folder / "frames" / "spots").iterdir())
        assert pictures == [f"{n:06}.jpg" for n in range(1, 11)]
        assert not (folder / "annotations").exists()
        assert not (folder / "manifests").exists()

    def test_a_video_with_tracks_is_adjusted(
        self, clip: Path, tracks: Path, tmp_path: Path
    ) -> None:
        found = self.run(LabelingPlan([clip], tracks=tracks / "spots.txt"), tmp_path)
        assert found.kind == "adjust"
        folder = tmp_path / "input"
        line = json.loads((folder / "manifests" / "output" / "output.manifest").read_bytes())
        assert line["job-pre-ref-metadata"]["class-map"] == {"0": "spot"}
        categories = json.loads((folder / "label-categories.json").read_bytes())
        assert categories["auditLabelAttributeName"] == "job-pre-ref"
        labels = json.loads(
            (folder / "annotations/consolidated-annotation/output/0/SeqLabel.json").read_bytes()
        )
        box = labels["tracking-annotations"][4]["annotations"][0]
        assert (box["left"], box["top"], box["width"], box["height"]) == (20, 30, 20, 40)

    def test_each_third_frame_is_numbered_without_gaps(
        self, clip: Path, tracks: Path, tmp_path: Path
    ) -> None:
        found = self.run(LabelingPlan([clip], tracks=tracks, every=3), tmp_path)
        assert found.frames == 4
        folder = tmp_path / "input"
        sequence = json.loads((folder / "sequences" / "spots.json").read_bytes())
        assert [one["frame-no"] for one in sequence["frames"]] == [0, 1, 2, 3]
        labels = json.loads(
            (folder / "annotations/consolidated-annotation/output/0/SeqLabel.json").read_bytes()
        )
        lefts = [f["annotations"][0]["left"] for f in labels["tracking-annotations"]]
        assert lefts == [12, 18, 24, 30]  # 10 + 2 n at n = 1, 4, 7, 10

    def test_a_folder_of_images_keeps_its_pictures(self, tmp_path: Path) -> None:
        dataset = squares(tmp_path / "data")
        images = next((dataset / "train").iterdir()) / "img1"
        plan = LabelingPlan([images.parent], ["square"], every=4)
        assert self.run(plan, tmp_path).frames == 2
        (folder,) = (tmp_path / "input" / "frames").iterdir()
        assert [p.read_bytes() for p in sorted(folder.iterdir())] == [
            (images / f"{n:06}.png").read_bytes() for n in (1, 5)
        ]

    def test_a_dataset_brings_its_labels(self, tmp_path: Path) -> None:
        found = self.run(LabelingPlan([squares(tmp_path / "data")]), tmp_path)
        assert (found.kind, found.sequences, found.frames) == ("adjust", 3, 24)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({}, "expected names of classes to label; give them as in --classes car,bus"),
            ({"classes": ["a"], "every": 0}, "--every: expected 1 or more, found 0"),
            ({"classes": ["a"], "kind": "verify"}, "--kind verify: expected labels to start from"),
            ({"classes": [f"c{n}" for n in range(31)]}, "at most 30 classes, .* found 31"),
        ],
    )
    def test_what_a_job_does_not_take(
        self, clip: Path, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            self.run(LabelingPlan([clip], **changes), tmp_path)

    def test_eleven_sequences_are_too_many(self, clip: Path, tmp_path: Path) -> None:
        clips = [Path(shutil.copy(clip, tmp_path / f"clip-{n}.mp4")) for n in range(11)]
        with pytest.raises(ConfigError, match="at most 10 sequences of up to 2,000 frames, .*11; "):
            self.run(LabelingPlan(clips, ["spot"]), tmp_path)

    def test_tracks_of_another_video(self, clip: Path, tracks: Path, tmp_path: Path) -> None:
        other = Path(shutil.copy(clip, tmp_path / "other.mp4"))
        with pytest.raises(FormatError, match="tracks: expected labels of 'other', found spots"):
            self.run(LabelingPlan([clip, other], tracks=tracks), tmp_path)

    def test_tracks_of_a_dataset(self, tracks: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="--prelabel: expected a video, found the dataset"):
            self.run(LabelingPlan([squares(tmp_path / "data")], tracks=tracks), tmp_path)


def drawn(count: int = 10) -> Labels:
    """One object that stands still, and one in frame 3 alone."""
    frames = np.array([*range(1, count + 1), 3], np.int64)
    ids = np.array([1] * count + [2], np.int64)
    boxes = np.array([[5.0, 6.0, 7.0, 8.0]] * count + [[50.0, 60.0, 10.0, 20.0]])
    classes = np.array([0] * count + [1], np.int64)
    names = ("spot", "a very long name of a class")
    return Labels.of("spots", names, frames, ids, boxes, classes, length=count)


class TestRehearsed:
    """Through the rehearsal, where labels are planted in the place of people."""

    NAMES: Sequence[str] = ("spot", "a very long name of a class")

    def run(
        self, cloud: Rehearsal, plan: LabelingPlan, output: Path | None, labels: Any
    ) -> tuple[Any, Ears]:
        ears = Ears()
        found = label(
            cloud,
            PROJECT,
            settings(),
            plan,
            output,
            ears.watcher(),
            progress=silent,
            simulate=lambda job, start: cloud.answer_labeling(job, labels or start),
        )
        return found, ears

    @pytest.fixture
    def cloud(self, tmp_path: Path) -> Any:
        with Rehearsal(tmp_path / "rehearsal") as rehearsal:
            place = {"LocationConstraint": "eu-west-1"}
            bucket = {"Bucket": PROJECT.bucket, "CreateBucketConfiguration": place}
            rehearsal.call(Request("s3", "CreateBucket", bucket))
            yield rehearsal

    def test_labels_come_home_as_a_dataset(
        self, cloud: Rehearsal, clip: Path, tmp_path: Path
    ) -> None:
        plan = LabelingPlan([clip], self.NAMES)
        found, ears = self.run(cloud, plan, tmp_path / "data", [drawn()])
        assert found.dataset.boxes == 11
        dataset = open_dataset(tmp_path / "data")
        assert dataset.classes == tuple(self.NAMES)
        ((_, labels),) = dataset.labels()
        assert labels.name == "spots"
        assert len(labels.pictures) == 10
        assert labels.boxes_xywh[labels.ids == 1].tolist() == [[5.0, 6.0, 7.0, 8.0]] * 10
        assert ears.lines[-1].startswith("— Completed: 1 of 1 sequences")

    def test_a_job_is_picked_up_again_elsewhere(
        self, cloud: Rehearsal, clip: Path, tmp_path: Path
    ) -> None:
        found, _ = self.run(cloud, LabelingPlan([clip], self.NAMES), None, None)
        cloud.answer_labeling(found.job, [drawn()])
        ears = Ears()
        again = go_on(cloud, PROJECT, found.job, tmp_path / "data", ears.watcher(), progress=silent)
        assert again.dataset is not None
        assert (again.dataset.boxes, again.dataset.pictures) == (11, 10)

    def test_what_nobody_changes_comes_back(
        self, cloud: Rehearsal, clip: Path, tracks: Path, tmp_path: Path
    ) -> None:
        plan = LabelingPlan([clip], tracks=tracks)
        found, _ = self.run(cloud, plan, tmp_path / "data", None)
        assert found.kind == "adjust"
        ((_, labels),) = open_dataset(tmp_path / "data").labels()
        labels = labels.in_order()
        assert labels.ids.tolist() == [7] * 10
        assert labels.boxes_xywh[:, 0].tolist() == [10 + 2 * n for n in range(1, 11)]


class TestEnd:
    def described(self, status: str, **more: Any) -> Any:
        return {
            "LabelingJobName": "job",
            "LabelingJobStatus": status,
            "LabelAttributeName": "job-ref",
            "LabelCounters": {"TotalLabeled": 0, "Unlabeled": 1},
            "InputConfig": {
                "DataSource": {"S3DataSource": {"ManifestS3Uri": f"{PLACE}/input.manifest"}}
            },
            **more,
        }

    @pytest.fixture
    def cloud(self, tmp_path: Path) -> FakeCloud:
        return FakeCloud(tmp_path / "s3")

    def go_on(self, cloud: FakeCloud, tmp_path: Path, ears: Ears) -> Any:
        return go_on(cloud, PROJECT, "job", tmp_path / "data", ears.watcher(), progress=silent)

    def test_a_failed_job_says_why(self, cloud: FakeCloud, tmp_path: Path) -> None:
        reason = "ClientError: CORS of the bucket"
        cloud.plant("DescribeLabelingJob", self.described("Failed", FailureReason=reason))
        with pytest.raises(JobError, match=f"job job failed: {reason}"):
            self.go_on(cloud, tmp_path, Ears())

    def test_how_far_people_are_is_said_when_it_changes(
        self, cloud: FakeCloud, tmp_path: Path
    ) -> None:
        responses = "s3://motrail-bucket/labeling/job/output/job/annotations/worker-response"

        def one_more(_request: object) -> Any:
            for path in (f"{responses}/iteration-1/0/{n:06}.json" for n in (1, 2)):
                cloud.path(path).parent.mkdir(parents=True, exist_ok=True)
                cloud.path(path).write_text("{}")
            return self.described("InProgress")

        cloud.plant(
            "DescribeLabelingJob",
            self.described("InProgress"),
            self.described("InProgress"),
            one_more,
            self.described("Failed"),
        )
        ears = Ears()
        with pytest.raises(JobError):
            self.go_on(cloud, tmp_path, ears)
        assert ears.lines == [
            "— InProgress: 0 of 1 sequences",
            "— InProgress: 0 of 1 sequences, 2 frames looked at",
            "— Failed: 0 of 1 sequences, 2 frames looked at",
        ]
        assert set(cloud.slept) == {60.0}

    def test_ctrl_c_leaves_people_to_their_work(self, cloud: FakeCloud, tmp_path: Path) -> None:
        def interrupted(_request: object) -> Any:
            raise KeyboardInterrupt

        cloud.plant("DescribeLabelingJob", interrupted)
        with pytest.raises(LeftError, match="job goes on.* motrail sagemaker label --job job wai"):
            self.go_on(cloud, tmp_path, Ears("leave"))

    def test_a_job_of_somebody_else(self, cloud: FakeCloud, tmp_path: Path) -> None:
        source = {"S3DataSource": {"ManifestS3Uri": "s3://other/input.manifest"}}
        answer = self.described("Completed", InputConfig={"DataSource": source})
        with pytest.raises(ConfigError, match="expected one that `motrail sagemaker label` made"):
            collect(cloud, PROJECT, answer, tmp_path / "data", tmp_path, progress=silent)

    def test_a_stopped_job_that_left_nothing(self, cloud: FakeCloud, tmp_path: Path) -> None:
        place = cloud.path(f"{PLACE}/labels.txt")
        place.parent.mkdir(parents=True)
        place.write_text("spot\n")
        cloud.plant("DescribeLabelingJob", self.described("Stopped"))
        with pytest.raises(JobError, match="job job ended as Stopped and left no labels"):
            self.go_on(cloud, tmp_path, Ears())

    def test_hostile_keys_stay_outside(self, cloud: FakeCloud, tmp_path: Path) -> None:
        for uri in (f"{PLACE}/labels.txt", "s3://motrail-bucket/labeling/job/output/job/a\\b"):
            cloud.path(uri).parent.mkdir(parents=True, exist_ok=True)
            cloud.path(uri).write_text("x")
        cloud.plant("DescribeLabelingJob", self.described("Completed"))
        with pytest.raises(CloudError, match="this key cannot be a file"):
            self.go_on(cloud, tmp_path, Ears())

    def test_without_a_team_nothing_is_begun(self, cloud: FakeCloud, clip: Path) -> None:
        with pytest.raises(ConfigError, match="expected --workteam ARN, the private team that is"):
            label(
                cloud,
                PROJECT,
                settings(workteam=None),
                LabelingPlan([clip], ["spot"]),
                None,
                Ears().watcher(),
                progress=silent,
            )
        assert cloud.calls == []
