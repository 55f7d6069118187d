"""Labelling jobs: nobody labels here, so that the result is planted, in Ground Truth's layout."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from motrail.errors import DataError
from motrail.formats.ground_truth.writer import GroundTruthWriter
from motrail.formats.labels import ClassList
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import invalid, listing, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motrail.formats.labels import Labels
    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage

_OVER = ("Completed", "Failed", "Stopped")
_RESULTS = "annotations/consolidated-annotation/output"
_SUMMARY = (
    "LabelingJobName",
    "LabelingJobArn",
    "CreationTime",
    "LastModifiedTime",
    "LabelingJobStatus",
    "LabelCounters",
    "WorkteamArn",
    "PreHumanTaskLambdaArn",
    "AnnotationConsolidationLambdaArn",
    "FailureReason",
    "LabelingJobOutput",
    "InputConfig",
)


class LabelingJobs:
    """The labelling jobs of a rehearsal."""

    def __init__(self, site: Site, storage: Storage, tags: Tags) -> None:
        self._site = site
        self._storage = storage
        self._tags = tags
        self._records = site.shelf("labeling-jobs")

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateLabelingJob": self._create,
            "DescribeLabelingJob": self._describe,
            "StopLabelingJob": self._stop,
            "ListLabelingJobs": self._list,
            "DescribeWorkteam": self._workteam,
            "ListWorkteams": self._workteams,
        }

    def answer(self, job: str, labels: Iterable[Labels]) -> None:
        """Let the workers be done; see `Rehearsal.answer_labeling`."""
        record = self._get(job)
        if record["LabelingJobStatus"] != "InProgress":
            refuse(
                "ValidationException",
                f"The labeling job {job} is in status {record['LabelingJobStatus']}.",
            )
        lines = self._lines(record)
        drawn = {each.name: each for each in labels}
        names = [PurePosixPath(line["source-ref"]).stem for line in lines]
        missing = [name for name in names if name not in drawn]
        if missing:
            raise DataError(
                f"labelling job {job}: expected labels of {', '.join(missing)}, found labels of "
                f"{', '.join(sorted(drawn)) or 'nothing'}"
            )
        home = f"{record['OutputConfig']['S3OutputPath'].rstrip('/')}/{job}"
        with tempfile.TemporaryDirectory(dir=self._site.folder) as folder:
            metadata, results = _written(Path(folder), job, [drawn[name] for name in names])
        output = []
        for index, (line, result) in enumerate(zip(lines, results, strict=True)):
            uri = f"{home}/{_RESULTS}/{index}/SeqLabel.json"
            named = self._with_names(line["source-ref"], result)
            self._storage.put(uri, json.dumps(named).encode())
            attribute = record["LabelAttributeName"]
            output.append({**line, attribute: uri, f"{attribute}-metadata": metadata})
        manifest = f"{home}/manifests/output/output.manifest"
        text = "".join(f"{json.dumps(line)}\n" for line in output)
        self._storage.put(manifest, text.encode())
        self._records.update(
            job,
            LabelingJobStatus="Completed",
            LastModifiedTime=now(),
            LabelCounters=_counters(len(lines), done=True),
            LabelingJobOutput={"OutputDatasetS3Uri": manifest},
        )

    def _with_names(self, source: str, result: dict[str, Any]) -> dict[str, Any]:
        """The result with the frames' names as they are in the job's own sequence file.

        A frame is found by the number in its name, or else by its place.
        """
        frames = json.loads(self._storage.read(source))["frames"]
        by_number = {
            int(stem): frame
            for frame in frames
            if (stem := PurePosixPath(frame["frame"]).stem).isdecimal()
        }
        said = {
            int(PurePosixPath(each["frame"]).stem): each for each in result["tracking-annotations"]
        }
        annotations = []
        for place, frame in enumerate(frames):
            stem = PurePosixPath(frame["frame"]).stem
            number = int(stem) if len(by_number) == len(frames) else place + 1
            drawn = said.get(number, {"annotations": [], "frame-attributes": {}})
            annotations.append(
                {
                    **drawn,
                    "frame-no": str(frame.get("frame-no", place)),
                    "frame": frame["frame"],
                }
            )
        return {"tracking-annotations": annotations}

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["LabelingJobName"]
        arn = self._site.arn("sagemaker", f"labeling-job/{name}")
        with self._site.lock:
            if name in self._records:
                refuse("ResourceInUse", f"Labeling job with name {name} already exists ({arn})")
            lines = self._lines(given)
            categories = given.get("LabelCategoryConfigS3Uri")
            if categories is not None:
                self._storage.get(categories)
            time = now()
            record = given | {
                "LabelingJobArn": arn,
                "LabelingJobStatus": "InProgress",
                "LabelCounters": _counters(len(lines), done=False),
                "JobReferenceCode": f"{self._site.number(name):020}"[-20:],
                "CreationTime": time,
                "LastModifiedTime": time,
            }
            self._records.put(name, record)
            self._tags.put(arn, given.get("Tags", ()))
        return {"LabelingJobArn": arn}

    def _lines(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The lines of the input manifest, each with a sequence file that there is.

        Raises:
            CloudError: The manifest or a sequence file is missing or makes no sense.
        """
        uri = given["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
        if self._storage.find(uri) is None:
            invalid(f"The input manifest {uri} cannot be read.")
        lines = []
        for number, text in enumerate(self._storage.read(uri).decode("utf-8").splitlines()):
            try:
                line = json.loads(text)
                frames = json.loads(self._storage.read(line["source-ref"]))["frames"]
            except (ValueError, LookupError, TypeError):
                invalid(
                    f"Line {number + 1} of the input manifest {uri} does not name a sequence file "
                    "with frames as source-ref."
                )
            if not frames:
                invalid(f"{line['source-ref']}: a sequence must have frames.")
            lines.append(line)
        if not lines:
            invalid(f"The input manifest {uri} is empty.")
        return lines

    def _get(self, name: str) -> Record:
        record = self._records.get(name)
        if record is None:
            refuse("ResourceNotFound", "Requested resource not found.")
        return record

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._get(given["LabelingJobName"])

    def _stop(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            record = self._get(given["LabelingJobName"])
            if record["LabelingJobStatus"] in _OVER:
                invalid(f"The labeling job is in status {record['LabelingJobStatus']}.")
            self._records.update(
                given["LabelingJobName"], LabelingJobStatus="Stopped", LastModifiedTime=now()
            )
        return {}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        records = []
        for record in self._records.values():
            task = record["HumanTaskConfig"]
            consolidation = task.get("AnnotationConsolidationConfig", {})
            record |= {
                "WorkteamArn": task["WorkteamArn"],
                "PreHumanTaskLambdaArn": task.get("PreHumanTaskLambdaArn", ""),
                **consolidation,
            }
            records.append(record)
        return listing(
            records,
            given,
            "LabelingJobSummaryList",
            _SUMMARY,
            name="LabelingJobName",
            status="LabelingJobStatus",
        )

    def _workteam(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"Workteam": self._team(given["WorkteamName"])}

    def _workteams(self, _given: dict[str, Any]) -> dict[str, Any]:
        return {"Workteams": [self._team("rehearsal")]}

    def _team(self, name: str) -> Record:
        """Every private team that is asked for is there, without anybody in it."""
        return {
            "WorkteamName": name,
            "WorkteamArn": self._site.arn("sagemaker", f"workteam/private-crowd/{name}"),
            "MemberDefinitions": [],
            "Description": "Nobody: a rehearsal",
        }


def _counters(count: int, *, done: bool) -> Record:
    labelled = count if done else 0
    return {
        "TotalLabeled": labelled,
        "HumanLabeled": labelled,
        "MachineLabeled": 0,
        "FailedNonRetryableError": 0,
        "Unlabeled": count - labelled,
    }


def _written(
    folder: Path, job: str, labels: Iterable[Labels]
) -> tuple[Record, list[dict[str, Any]]]:
    """The metadata of a line and the result of each sequence, as our own writer has them."""
    writer = GroundTruthWriter(folder, ClassList(), job=job[:58].strip("-"))
    for each in labels:
        writer.add(each)
    writer.finish()
    manifest = (folder / "manifests" / "output" / "output.manifest").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in manifest.splitlines()]
    metadata = lines[-1][f"{writer.attribute}-metadata"] | {
        "human-annotated": "yes",
        "job-name": f"labeling-job/{job}",
    }
    results = [
        json.loads((folder / _RESULTS / str(index) / "SeqLabel.json").read_text(encoding="utf-8"))
        for index in range(len(lines))
    ]
    return metadata, results
