"""The requests of a batch's jobs, and what they refer to in S3."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.sagemaker.archive import stem
from motrail.sagemaker.deployment import pack
from motrail.sagemaker.ledger import put_json
from motrail.sagemaker.requests import processing
from motrail.sagemaker.transfer import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.sagemaker.archive import Footage
    from motrail.sagemaker.batch import Batch
    from motrail.sagemaker.request import Request

KEPT = "detections/"
"""Below the results: what was detected in videos that are not done."""


class Plan:
    """Makes the requests of a batch, and lays out what they refer to."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def send(self, footage: Footage) -> None:
        """The manifest of the videos, the model and the settings."""
        batch = self._batch
        put_json(batch.cloud, batch.uri("plan", "videos.json"), footage.manifest())
        with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
            packed = Path(folder) / "model.tar.gz"
            pack(batch.order.bundle, packed)
            meter = Meter(batch.progress, "uploading", packed.stat().st_size)
            batch.cloud.upload(packed, batch.uri("plan", "model", "model.tar.gz"), tell=meter)
            if batch.order.config is not None:
                config = Path(folder) / "config.toml"
                config.write_text(batch.order.config, encoding="utf-8")
                batch.cloud.upload(config, batch.uri("plan", "config", "config.toml"))

    def send_kept(self, kept: Sequence[str], missing: Sequence[str]) -> str | None:
        """A manifest of the detections of videos that are not done; None where there are none."""
        batch = self._batch
        base = batch.uri("tracks") + "/"
        places = tuple(f"{base}{KEPT}{start}/" for name in missing for start in (name, stem(name)))
        names = [uri.removeprefix(base) for uri in kept if uri.startswith(places)]
        names = [
            name for name in names if not any(part.startswith(".") for part in name.split("/"))
        ]
        if not names:
            return None
        put_json(batch.cloud, batch.uri("plan", "kept.json"), [{"prefix": base}, *names])
        return batch.uri("plan", "kept.json")

    def videos(self, name: str, todo: Footage, kept: str | None) -> Request:
        """The job that tracks videos, each whole on one instance."""
        instances = min(self._batch.deal.instances, max(len(todo.names), 1))
        job = self._job(name, "videos", "tracks", instances)
        return self._request(dataclasses.replace(job, kept=kept, kept_manifest=kept is not None))

    def detect(self, name: str, kept: str | None) -> Request:
        """The job that detects."""
        job = self._job(name, "detect", "detections", self._batch.deal.instances)
        return self._request(dataclasses.replace(job, kept=kept))

    def associate(self, name: str) -> Request:
        """The job that tracks what was detected."""
        job = self._job(name, "associate", "tracks", 1)
        kept = self._batch.uri("detections") + "/"
        return self._request(dataclasses.replace(job, kept=kept))

    def _job(self, name: str, step: processing.Step, output: str, instances: int) -> processing.Job:
        batch = self._batch
        return processing.Job(
            name=name,
            step=step,
            videos=batch.uri("plan", "videos.json"),
            model=batch.uri("plan", "model") + "/",
            output=batch.uri(output),
            instances=instances,
            volume_gib=batch.deal.volume_gib,
            config=None if batch.order.config is None else batch.uri("plan", "config") + "/",
            arguments=batch.order.arguments,
            manifest=True,
        )

    def _request(self, job: processing.Job) -> Request:
        batch = self._batch
        tags = {"batch": batch.order.name}
        return processing.create_job(batch.project, batch.settings, job, tags)
