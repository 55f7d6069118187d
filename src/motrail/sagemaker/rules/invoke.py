"""Rules about calls of endpoints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY = 25 * 1024 * 1024
"""Bytes of a request to a real-time endpoint (SageMaker endpoints and quotas, "Real-time
inference": 25 MB). Older pages and the service model of botocore 1.44.5 say 6 MB."""

_CALLS = ("InvokeEndpoint", "InvokeEndpointWithResponseStream")
_ALL = (*_CALLS, "InvokeEndpointAsync")
_HEADERS = ("ContentType", "Accept", "CustomAttributes")
_VISIBLE = re.compile(r"[\x20-\x7e]*")


@rule("payload", *_CALLS)
def payload(parameters: Parameters) -> Iterator[Problem]:
    """AWS general reference, "SageMaker endpoints and quotas": 25 MB to a real-time endpoint."""
    body = parameters["Body"]
    size = len(body.encode() if isinstance(body, str) else body) if hasattr(body, "__len__") else 0
    if size > MAX_BODY:
        expected = f"at most {MAX_BODY:,} bytes; larger ones go through S3 to an async endpoint"
        yield Problem("Body", expected, f"{size:,}")


@rule("headers", *_ALL)
def headers(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `InvokeEndpoint.CustomAttributes`: visible US-ASCII characters."""
    for name in _HEADERS:
        text = parameters.get(name, "")
        if not _VISIBLE.fullmatch(text):
            yield Problem(name, "visible ASCII characters", shown(text))


@rule("async-input", "InvokeEndpointAsync")
def async_input(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `InvokeEndpointAsync.Body`: either Body or InputLocation."""
    if ("Body" in parameters) == ("InputLocation" in parameters):
        found = "both" if "Body" in parameters else "neither"
        yield Problem("InputLocation", "either InputLocation or Body", found)


@rule("async-time", "InvokeEndpointAsync")
def async_time(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `InvokeEndpointAsync.RequestTTLSeconds`, the age it expires at.

    A request that expires sooner than it may be worked on is a mistake.
    """
    wait = parameters.get("RequestTTLSeconds")
    work = parameters.get("InvocationTimeoutSeconds", 900)
    if wait is not None and wait < work:
        expected = f"at least InvocationTimeoutSeconds ({work})"
        yield Problem("RequestTTLSeconds", expected, f"{wait}")
