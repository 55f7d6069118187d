"""The OpenAPI document: what may be asked, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

import motrail
from motrail.serve import answers, frames
from motrail.serve.attributes import HEADER, MAX_LENGTH
from motrail.serve.front import REQUEST_ID
from motrail.serve.sessions import CLOSED_HEADER, NEW, NEW_HEADER
from motrail.serve.sessions import HEADER as SESSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REFERENCE = "#/components/schemas/{model}"
_PLAIN = r"^[!-~]{1,128}$"
ATTRIBUTES = r"^[ -~]*$"
_SESSION = r"^([A-Za-z0-9-]{1,256}|NEW_SESSION)$"

Box = Annotated[list[float], Field(min_length=4, max_length=4)]


class Part(BaseModel):
    """Of the document."""

    model_config = ConfigDict(extra="forbid")


class ErrorContent(Part):
    """Why there is no answer."""

    code: str = Field(description="One word for programs, such as `too_large`.")
    message: str = Field(description="One sentence for people.")
    request_id: str


class Error(Part):
    """An answer with a status of 400 or more."""

    error: ErrorContent


class Status(Part):
    """The server is there."""

    status: Literal["ok"]


class InputSize(Part):
    """Of the network, in pixels."""

    width: int
    height: int


class Model(Part):
    """What the server runs."""

    name: str
    version: str = Field(description="Changes when the network does.")
    classes: list[str]
    input: InputSize
    device: str
    tracker: dict[str, Any] = Field(description="Settings that sessions begin with.")


class Detection(Part):
    """An object in a frame."""

    box: Box = Field(description="Left, top, right, bottom in pixels.")
    score: float
    class_: str = Field(alias="class")


class Track(Detection):
    """An object with its identity."""

    id: int


class Detections(Part):
    """What was detected in a frame."""

    frame: int | None
    width: int
    height: int
    detections: list[Detection]


class ManyDetections(Part):
    """What was detected in several frames."""

    frames: list[Detections]


class Session(Part):
    """A session that was opened, or closed without a last frame."""

    session: str


class Tracks(Part):
    """What was tracked in a frame."""

    frame: int
    width: int
    height: int
    tracks: list[Track]


class SessionTracks(Tracks):
    """What was tracked in a frame of a session."""

    session: str


class ManyTracks(Part):
    """What was tracked in several frames of a session."""

    session: str
    frames: list[Tracks]


class VideoTracks(Part):
    """The tracks of a video."""

    name: str
    width: int
    height: int
    frame_rate: float
    frames: int
    tracks: int
    truncated: str | None = Field(description="Why the video ended early, if it did.")
    classes: list[str]
    rows: list[Annotated[list[float], Field(min_length=9, max_length=9)]] = Field(
        description="Frame, id, left, top, width, height, score, class (from 1), visibility."
    )


_MODELS = (
    Error,
    Status,
    Model,
    Detections,
    ManyDetections,
    Session,
    SessionTracks,
    ManyTracks,
    VideoTracks,
)
_ERRORS = {
    400: "The request makes no sense; the message says what was expected.",
    401: "The token is missing or wrong.",
    403: "The operator does not allow this source or webhook.",
    404: "There is no such session or job, or no more.",
    405: "There is another method for this address.",
    406: "None of the media types asked for can be given.",
    408: "The body did not arrive in time.",
    409: "It does not fit what came before: another frame, another job, a result not yet there.",
    410: "The result was removed.",
    413: "The body, a frame or the work is too large.",
    415: "The media type is not read.",
    500: "A fault of the server, which was logged.",
    503: "No room at the moment; the header Retry-After says when to come back.",
    507: "No room on the disk.",
}
_INVOCATION_ERRORS = (400, 401, 404, 405, 406, 408, 409, 413, 415, 500, 503, 507)


def document(
    *, token: bool, paths: Mapping[str, Any] | None = None, schemas: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document.

    Args:
        token: Whether requests need one.
        paths: Paths of others, such as jobs.
        schemas: Schemas of others.
    """
    _, definitions = models_json_schema(
        [(model, "serialization") for model in _MODELS], ref_template=REFERENCE
    )
    secured: list[dict[str, list[str]]] = [{"token": []}] if token else []
    components: dict[str, Any] = {"schemas": {**definitions["$defs"], **(schemas or {})}}
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "motrail",
            "version": motrail.__version__,
            "description": "Detection and multi-object tracking in frames and videos.",
        },
        "paths": {
            "/ping": {"get": _simple("Whether the server is there.", "Status") | {"security": []}},
            "/model": {"get": _simple("What the server runs.", "Model")},
            "/metrics": {
                "get": _operation("Counters for Prometheus.", {"text/plain": {"type": "string"}})
            },
            "/openapi.json": {
                "get": _operation("This document.", {answers.JSON: {"type": "object"}})
            },
            "/invocations": {"post": _invocations()},
            **(paths or {}),
        },
        "components": components,
        "security": secured,
    }


def reference(name: str) -> dict[str, str]:
    """A schema of the document."""
    return {"$ref": REFERENCE.format(model=name)}


def errors(statuses: Sequence[int]) -> dict[str, Any]:
    """The answers for what can go wrong."""
    found: dict[str, Any] = {}
    for status in statuses:
        found[str(status)] = {
            "description": _ERRORS[status],
            "content": {answers.JSON: {"schema": reference("Error")}},
        }
        if status == 503:
            found["503"]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}
            }
    return found


def request_id() -> dict[str, Any]:
    """The parameter that every request may have."""
    about = "Comes back with the answer and stands in the log; made up if left out."
    return header(REQUEST_ID, about, _PLAIN)


def header(name: str, about: str, pattern: str, longest: int | None = None) -> dict[str, Any]:
    """A parameter in a header."""
    schema: dict[str, Any] = {"type": "string", "pattern": pattern}
    if longest is not None:
        schema["maxLength"] = longest
    return {"name": name, "in": "header", "description": about, "schema": schema}


def _simple(summary: str, schema: str) -> dict[str, Any]:
    return _operation(summary, {answers.JSON: reference(schema)})


def _operation(summary: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": [request_id()],
        "responses": {
            "200": {
                "description": summary,
                "content": {kind: {"schema": schema} for kind, schema in content.items()},
            },
            **errors((401, 405, 500)),
        },
    }


def _invocations() -> dict[str, Any]:
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    several = {
        "type": "object",
        "additionalProperties": {"type": "string", "format": "binary"},
        "minProperties": 1,
    }
    bodies: dict[str, Any] = dict.fromkeys(
        [*frames.IMAGES, frames.ARRAY, "video/*", "application/octet-stream"], binary
    )
    bodies[frames.PARTS] = {"schema": several}
    content = [
        "Detections",
        "ManyDetections",
        "Session",
        "SessionTracks",
        "ManyTracks",
        "VideoTracks",
        "Model",
    ]
    text = {"schema": {"type": "string"}}
    return {
        "summary": "Detect and track: a frame, several frames, frames of a session, or a video.",
        "parameters": [
            request_id(),
            header(SESSION_HEADER, f"{NEW} opens one; later requests carry its id.", _SESSION),
            header(
                HEADER,
                "key=value;key=value: frame, previous, step, close, frame_rate, size, "
                "describe, tracker.NAME, refine.NAME, video.NAME.",
                ATTRIBUTES,
                MAX_LENGTH,
            ),
        ],
        "requestBody": {"content": bodies},
        "responses": {
            "200": {
                "description": "What was found, by Accept.",
                "headers": {
                    NEW_HEADER: {
                        "description": "ID; Expires=TIME",
                        "schema": {"type": "string"},
                    },
                    CLOSED_HEADER: {"description": "ID", "schema": {"type": "string"}},
                },
                "content": {
                    answers.JSON: {"schema": {"anyOf": [reference(name) for name in content]}},
                    answers.CSV: text,
                    answers.LINES: text,
                    answers.MP4: binary,
                },
            },
            **errors(_INVOCATION_ERRORS),
        },
    }
