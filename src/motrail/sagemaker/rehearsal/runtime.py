"""Calls of endpoints: what arrives at the container, what comes back, and what is refused."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from motrail.sagemaker.rehearsal.fleet import GROUP
from motrail.sagemaker.rehearsal.server import NoAnswerError, TooLargeError
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import ACCOUNT, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.sagemaker.rehearsal.endpoints import Endpoints
    from motrail.sagemaker.rehearsal.fleet import Fleet, Seat
    from motrail.sagemaker.rehearsal.server import Answer
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage

REAL_TIME_BYTES = 25 << 20
SERVERLESS_BYTES = 4 << 20
SECONDS = 60.0
NEW_SESSION = "NEW_SESSION"
_PREFIX = "X-Amzn-SageMaker-"
# Member of the request → header; nothing else gets through.
HEADERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": f"{_PREFIX}Custom-Attributes",
    "InferenceId": f"{_PREFIX}Inference-Id",
    "SessionId": f"{_PREFIX}Session-Id",
    "TargetVariant": f"{_PREFIX}Target-Variant",
    "TargetModel": f"{_PREFIX}Target-Model",
    "EnableExplanations": f"{_PREFIX}Enable-Explanations",
}
_BACK = {
    "ContentType": "content-type",
    "CustomAttributes": f"{_PREFIX}custom-attributes".lower(),
    "NewSessionId": f"{_PREFIX}new-session-id".lower(),
    "ClosedSessionId": f"{_PREFIX}closed-session-id".lower(),
}
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)


_NO_SESSIONS = "sessions are kept by instances, which it has none of."
"""Developer guide, "Stateful sessions": requests of a session are routed to one ML instance. What
AWS's refusal says word for word is not documented."""


class Call(NamedTuple):
    """A call that may be made.

    Attributes:
        name: Of the endpoint.
        record: Of the endpoint.
        fleet: Behind it.
        most: Bytes that request and answer may have.
    """

    name: str
    record: Record
    fleet: Fleet
    most: int


class Runtime:
    """The calls of a rehearsal's endpoints.

    Args:
        site: Where it runs.
        endpoints: What there is to call.
        storage: Where captured data go.
        seconds: A container has to answer.
    """

    def __init__(self, site: Site, endpoints: Endpoints, storage: Storage, seconds: float) -> None:
        self._site = site
        self._endpoints = endpoints
        self._storage = storage
        self._seconds = seconds

    def operations(self) -> Operations:
        """By their names."""
        return {
            "InvokeEndpoint": self._invoke,
            "InvokeEndpointWithResponseStream": self._stream,
        }

    def open(self, name: str, *, asynchronous: bool) -> Call:
        """An endpoint that can be called.

        Raises:
            CloudError: There is none in service of that kind.
        """
        record = self._endpoints.records.get(name)
        if record is None or record["EndpointStatus"] not in {"InService", "Updating"}:
            refuse("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        if asynchronous != ("AsyncInferenceConfig" in record):
            kind = "not " if asynchronous else ""
            refuse("ValidationError", f"Endpoint {name} is {kind}an asynchronous endpoint.")
        fleet = self._endpoints.fleet(name)
        serverless = any("ServerlessConfig" in each for each in fleet.config["ProductionVariants"])
        return Call(name, record, fleet, SERVERLESS_BYTES if serverless else REAL_TIME_BYTES)

    def ask(
        self, call: Call, seat: Seat, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Have an instance answer.

        Raises:
            CloudError: It did not, or with an error (`ModelError`).
        """
        try:
            answer = seat.server.invoke(body, headers, seconds, call.most)
        except NoAnswerError:
            self._model_error(call, "server error (0)", _TIMED_OUT)
        except TooLargeError:
            text = f"The response has more than {call.most} bytes."
            self._model_error(call, "server error (0)", text)
        if answer.status >= 400:
            side = "client" if answer.status < 500 else "server"
            message = answer.body.decode("utf-8", "replace")
            self._model_error(call, f"{side} error ({answer.status})", message)
        return answer

    def _model_error(self, call: Call, kind: str, message: str) -> NoReturn:
        region = self._site.region
        console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        refuse(
            "ModelError",
            f'Received {kind} from primary with message "{message}". See '
            f"{console}#logEventViewer:group={GROUP}/{call.name} in account {ACCOUNT} for more "
            "information.",
        )

    def _stream(self, given: dict[str, Any]) -> dict[str, Any]:
        answer = self._invoke(given)
        answer["Body"] = [{"PayloadPart": {"Bytes": answer["Body"]}}]
        return {
            key: answer[key] for key in answer if key not in {"NewSessionId", "ClosedSessionId"}
        }

    def _invoke(self, given: dict[str, Any]) -> dict[str, Any]:
        call = self.open(given["EndpointName"], asynchronous=False)
        body = as_bytes(given["Body"])
        if len(body) > call.most:
            self._too_large(call)
        session = given.get("SessionId")
        if session is not None and call.most == SERVERLESS_BYTES:
            refuse("ValidationError", f"Endpoint {call.name} is serverless; {_NO_SESSIONS}")
        known = None if session == NEW_SESSION else session
        seat = call.fleet.seat(given.get("TargetVariant"), known, weights(call.record))
        headers = {HEADERS[key]: str(given[key]) for key in given if key in HEADERS}
        limit = self._take_turn(call)
        try:
            answer = self.ask(call, seat, body, headers, self._seconds)
        finally:
            if limit:
                with self._site.lock:
                    call.fleet.busy -= 1
        result: dict[str, Any] = {
            key: answer.headers[name] for key, name in _BACK.items() if name in answer.headers
        }
        if "NewSessionId" in result and session == NEW_SESSION:
            call.fleet.keep_session(result["NewSessionId"].partition(";")[0].strip(), seat)
        if "ClosedSessionId" in result:
            call.fleet.close_session(result["ClosedSessionId"].strip())
        self._capture(call, seat, given, body, answer)
        return result | {"Body": answer.body, "InvokedProductionVariant": seat.variant}

    def _too_large(self, call: Call) -> NoReturn:
        if call.most == SERVERLESS_BYTES:
            refuse("ValidationError", f"Request {uuid.uuid4()} has oversize body.")
        refuse("413", f"HTTP content length exceeded {call.most} bytes.")

    def _take_turn(self, call: Call) -> bool:
        """A serverless endpoint takes so many calls at a time and refuses more.

        Raises:
            CloudError: It has its hands full.
        """
        limits = [
            each["ServerlessConfig"]["MaxConcurrency"]
            for each in call.fleet.config["ProductionVariants"]
            if "ServerlessConfig" in each
        ]
        if not limits:
            return False
        with self._site.lock:
            if call.fleet.busy >= limits[0]:
                refuse("ThrottlingException", "Rate exceeded")
            call.fleet.busy += 1
        return True

    def _capture(
        self, call: Call, seat: Seat, given: dict[str, Any], body: bytes, answer: Answer
    ) -> None:
        capture = call.fleet.config.get("DataCaptureConfig", {})
        if not capture.get("EnableCapture"):
            return
        with self._site.lock:
            call.fleet.captures += capture["InitialSamplingPercentage"]
            if call.fleet.captures < 100:
                return
            call.fleet.captures -= 100
        modes = {each["CaptureMode"] for each in capture["CaptureOptions"]}
        data = {}
        if modes & {"Input", "InputAndOutput"}:
            kind = given.get("ContentType", "application/octet-stream")
            data["endpointInput"] = _captured("INPUT", kind, body)
        if modes & {"Output", "InputAndOutput"}:
            kind = answer.headers.get("content-type", "application/octet-stream")
            data["endpointOutput"] = _captured("OUTPUT", kind, answer.body)
        moment = now()
        line: Record = {
            "captureData": data,
            "eventMetadata": {
                "eventId": str(uuid.uuid4()),
                "inferenceTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "eventVersion": "0",
        }
        for member, name in (
            ("CustomAttributes", "customAttributes"),
            ("InferenceId", "inferenceId"),
        ):
            if member in given:
                line["eventMetadata"][name] = given[member]
        folder = f"{call.name}/{seat.variant}/{moment:%Y/%m/%d/%H}"
        stamp = f"{moment:%M-%S}-{time.time_ns() % 1000:03}-{uuid.uuid4()}"
        uri = f"{capture['DestinationS3Uri'].rstrip('/')}/{folder}/{stamp}.jsonl"
        self._storage.put(uri, json.dumps(line).encode() + b"\n")


def weights(record: Record) -> dict[str, float]:
    """The weights of an endpoint's variants."""
    variants = record.get("ProductionVariants", ())
    return {each["VariantName"]: float(each["CurrentWeight"]) for each in variants}


def as_bytes(body: Any) -> bytes:
    """What boto3 takes as a body: bytes, text or a file."""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body)


def _captured(mode: str, kind: str, body: bytes) -> Record:
    data = {"observedContentType": kind, "mode": mode}
    return data | {"data": base64.b64encode(body).decode(), "encoding": "BASE64"}
