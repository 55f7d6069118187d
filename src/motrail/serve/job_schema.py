"""The part of the OpenAPI document about jobs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import models_json_schema

from motrail.serve import answers
from motrail.serve.attributes import HEADER, MAX_LENGTH
from motrail.serve.schema import (
    ATTRIBUTES,
    REFERENCE,
    Part,
    document,
    errors,
    header,
    reference,
    request_id,
)

_VISIBLE = r"^[ -~]{1,200}$"


class JobLinks(Part):
    """Where a job and its result are found."""

    self: str
    result: str


class JobTaken(Part):
    """A job that was taken in."""

    id: str
    state: str
    links: JobLinks


class JobNotice(Part):
    """How far the webhook of a job has come."""

    state: str
    attempts: int
    error: str | None


class Job(Part):
    """A job as it stands."""

    id: str
    name: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    frames: int
    total: int | None
    eta_seconds: float | None
    attempts: int
    created: str | None
    started: str | None
    ended: str | None
    error: str | None
    truncated: str | None
    outputs: list[str]
    webhook: JobNotice | None
    links: JobLinks


class JobList(Part):
    """Jobs, the newest first."""

    jobs: list[Job]


class JobReference(Part):
    """A job whose video is elsewhere."""

    source: str = Field(
        min_length=1,
        max_length=4096,
        description="A path or an http(s) address that the operator allowed.",
    )
    settings: dict[str, dict[str, Any]] = Field(
        default={}, description="Of the sections tracker, refine and video."
    )
    outputs: list[Literal["csv", "mp4"]] = Field(default=["csv"], min_length=1, max_length=2)
    webhook: str | None = Field(default=None, min_length=1, max_length=2048)
    name: str | None = Field(default=None, min_length=1, max_length=200)


def document_with_jobs(*, token: bool) -> dict[str, Any]:
    """The document of a server that takes jobs."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in (JobTaken, JobList)]
        + [(JobReference, "validation")],
        ref_template=REFERENCE,
    )
    return document(token=token, paths=_paths(), schemas=definitions["$defs"])


def _paths() -> dict[str, Any]:
    return {
        "/jobs": {"post": _submit(), "get": _list()},
        "/jobs/{id}": {
            "get": _about("How a job stands.", {"200": _found("Job")}),
            "delete": _about(
                "Cancel a job and remove it.", {"204": {"description": "It is gone."}}
            ),
        },
        "/jobs/{id}/result": {
            "get": _about(
                "The result, by Accept.",
                {"200": {"description": "The result.", "content": _results()}},
                (406, 409, 410),
            )
        },
    }


def _submit() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    taken = {
        **_found("JobTaken"),
        "headers": {"Location": {"description": "Of the job.", "schema": {"type": "string"}}},
    }
    return {
        "summary": "Have a whole video tracked, without waiting for it.",
        "parameters": [
            request_id(),
            header("Idempotency-Key", "The same key gives the same job.", _VISIBLE),
            header("X-Motrail-Webhook", "Address to be told of the end (uploads).", _VISIBLE),
            header("X-Motrail-Outputs", "csv, or csv,mp4 (uploads).", r"^(csv|csv,mp4)$"),
            header(HEADER, "Settings (uploads): tracker.NAME=VALUE;…", ATTRIBUTES, MAX_LENGTH),
            {
                "name": "name",
                "in": "query",
                "description": "What to call it (uploads).",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "video/*": binary,
                "application/octet-stream": binary,
                answers.JSON: {"schema": reference("JobReference")},
            },
        },
        "responses": {
            "202": taken | {"description": "It was taken in."},
            "200": taken | {"description": "It was taken in before, under the same key."},
            **errors((400, 401, 403, 405, 408, 409, 413, 415, 500, 503, 507)),
        },
    }


def _list() -> dict[str, Any]:
    return {
        "summary": "The newest jobs.",
        "parameters": [
            request_id(),
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            },
        ],
        "responses": {"200": _found("JobList"), **errors((400, 401, 405, 500, 507))},
    }


def _about(summary: str, responses: dict[str, Any], others: tuple[int, ...] = ()) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": [
            request_id(),
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        ],
        "responses": responses | errors((401, 404, 405, 500, 507, *others)),
    }


def _found(name: str) -> dict[str, Any]:
    return {"description": name, "content": {answers.JSON: {"schema": reference(name)}}}


def _results() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        answers.JSON: {"schema": reference("VideoTracks")},
        answers.CSV: text,
        answers.LINES: text,
        answers.MP4: {"schema": {"type": "string", "format": "binary"}},
    }
