"""Asynchronous calls: from S3 to the container and back, with a message at the end.

The messages are those of the developer guide, "Asynchronous inference: check prediction results".
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.sagemaker.rehearsal.runtime import HEADERS, as_bytes, weights
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import refuse
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from datetime import datetime

    from motrail.sagemaker.rehearsal.runtime import Call, Runtime
    from motrail.sagemaker.rehearsal.server import Answer
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage
    from motrail.sagemaker.rehearsal.topics import Topics

PAYLOAD_BYTES = 1 << 30
INLINE_BYTES = 128_000
INCLUDED_BYTES = 128 << 10
_SECONDS = 900
_TTL = 21_600
_NOT_SENT = ("SessionId", "TargetVariant", "TargetModel", "EnableExplanations")


class _Job(NamedTuple):
    """A call that waits for its turn."""

    call: Call
    given: dict[str, Any]
    id: str
    received: datetime
    since: float
    output: str
    failure: str | None


class Asynchronous:
    """The asynchronous calls of a rehearsal."""

    def __init__(self, site: Site, runtime: Runtime, storage: Storage, topics: Topics) -> None:
        self._site = site
        self._runtime = runtime
        self._storage = storage
        self._topics = topics
        self._waiting = site.shelf("asynchronous-calls")
        for record in self._waiting.values():
            site.start(self._again, record)

    def operations(self) -> Operations:
        """By their names."""
        return {"InvokeEndpointAsync": self._invoke}

    def _invoke(self, given: dict[str, Any]) -> dict[str, Any]:
        if ("InputLocation" in given) == ("Body" in given):
            refuse("ValidationError", "Exactly one of InputLocation and Body must be given.")
        if "Body" in given and len(as_bytes(given["Body"])) > INLINE_BYTES:
            refuse("ValidationError", f"Body has more than {INLINE_BYTES} bytes.")
        call = self._runtime.open(given["EndpointName"], asynchronous=True)
        config = call.fleet.config["AsyncInferenceConfig"]["OutputConfig"]
        unique = str(uuid.uuid4())
        folder = config["S3OutputPath"].rstrip("/")
        extension = given.get("S3OutputPathExtension", "").strip("/")
        if extension:
            folder = f"{folder}/{extension}"
        output = f"{folder}/{given.get('Filename', f'{unique}.out')}"
        failure = config.get("S3FailurePath")
        if failure is not None:
            failure = f"{failure.rstrip('/')}/{unique}-error.out"
        inference = given.get("InferenceId", str(uuid.uuid4()))
        record = {
            "Given": given,
            "Id": inference,
            "Received": now(),
            "Output": output,
            "Failure": failure,
        }
        if "Body" not in given:  # what is sent along is too much to be kept
            self._waiting.put(output, record)
        self._queue(call, record)
        answer = {"InferenceId": inference, "OutputLocation": output}
        return answer if failure is None else answer | {"FailureLocation": failure}

    def _again(self, record: Record) -> None:
        """Go on with a call that the last command left; never raises."""
        try:
            call = self._runtime.open(record["Given"]["EndpointName"], asynchronous=True)
        except CloudError:
            self._waiting.remove(record["Output"])
        else:
            self._queue(call, record)

    def _queue(self, call: Call, record: Record) -> None:
        job = _Job(
            call._replace(most=PAYLOAD_BYTES),
            record["Given"],
            record["Id"],
            record["Received"],
            time.monotonic(),
            record["Output"],
            record["Failure"],
        )
        if call.fleet.pool is not None:
            call.fleet.pool.submit(self._work, job)

    def _work(self, job: _Job) -> None:
        """Never raises."""
        if self._site.ending.is_set():
            return
        self._finish(job)
        if not self._site.ending.is_set():
            self._waiting.remove(job.output)

    def _finish(self, job: _Job) -> None:
        try:
            answer = self._ask(job)
            self._storage.put(job.output, answer.body)
            self._tell_success(job, answer)
        except CloudError as error:
            if not self._site.ending.is_set():
                self._fail(job, error)
        except Exception as error:  # noqa: BLE001  (whatever it is, the call must come to an end)
            if not self._site.ending.is_set():
                self._fail(job, CloudError(str(error), code="InternalFailure"))

    def _ask(self, job: _Job) -> Answer:
        if time.monotonic() - job.since > job.given.get("RequestTTLSeconds", _TTL):
            refuse("ClientError", "The request expired before it was processed.")
        if "Body" in job.given:
            body = as_bytes(job.given["Body"])
        else:
            stored = self._storage.get(job.given["InputLocation"])
            if stored.size > PAYLOAD_BYTES:
                refuse("ClientError", f"The input has more than {PAYLOAD_BYTES} bytes.")
            body = stored.path.read_bytes()
        headers = {
            HEADERS[key]: str(value)
            for key, value in job.given.items()
            if key in HEADERS and key not in _NOT_SENT
        }
        headers[HEADERS["InferenceId"]] = job.id
        seat = job.call.fleet.seat(None, None, weights(job.call.record))
        seconds = job.given.get("InvocationTimeoutSeconds", _SECONDS)
        return self._runtime.ask(job.call, seat, body, headers, float(seconds))

    def _fail(self, job: _Job, error: CloudError) -> None:
        text = str(error)
        if error.code == "ModelError":
            kind = text.partition(" from primary")[0]
            reason = (
                f"ClientError: {kind} from model. See the SageMaker Endpoint logs in your account "
                "for more information."
            )
        else:
            reason = f"ClientError: {text}"
        if job.failure is not None:
            self._storage.put(job.failure, text.encode())
        message = self._message(job, "Failed") | {"failureReason": reason}
        if job.failure is not None:
            message["responseParameters"] = {"failureLocation": job.failure}
        if self._includes(job, "ERROR_NOTIFICATION_TOPIC") and len(text) <= INCLUDED_BYTES:
            message["responseBody"] = {"content": text, "encoding": "UTF-8"}
        self._publish(job, "ErrorTopic", message)

    def _tell_success(self, job: _Job, answer: Answer) -> None:
        message = self._message(job, "Completed") | {
            "responseParameters": {
                "contentType": answer.headers.get("content-type", "application/octet-stream"),
                "outputLocation": job.output,
            }
        }
        small = len(answer.body) <= INCLUDED_BYTES
        if small and self._includes(job, "SUCCESS_NOTIFICATION_TOPIC"):
            content = answer.body.decode("utf-8", "replace")
            message["responseBody"] = {"content": content, "encoding": "UTF-8"}
        self._publish(job, "SuccessTopic", message)

    def _message(self, job: _Job, status: str) -> Record:
        asked = {"endpointName": job.call.name}
        for member, name in (
            ("ContentType", "contentType"),
            ("Accept", "accept"),
            ("CustomAttributes", "customAttributes"),
            ("InputLocation", "inputLocation"),
        ):
            if member in job.given:
                asked[name] = job.given[member]
        return {
            "awsRegion": self._site.region,
            "eventTime": _moment(now()),
            "receivedTime": _moment(job.received),
            "invocationStatus": status,
            "requestParameters": asked,
            "inferenceId": job.id,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }

    def _notification(self, job: _Job) -> Record:
        output = job.call.fleet.config["AsyncInferenceConfig"]["OutputConfig"]
        notification: Record = output.get("NotificationConfig", {})
        return notification

    def _includes(self, job: _Job, topic: str) -> bool:
        return topic in self._notification(job).get("IncludeInferenceResponseIn", ())

    def _publish(self, job: _Job, which: str, message: Record) -> None:
        topic = self._notification(job).get(which)
        if topic is not None:
            self._topics.publish(topic, json.dumps(message))


def _moment(time_: datetime) -> str:
    return time_.isoformat(timespec="milliseconds").replace("+00:00", "Z")
