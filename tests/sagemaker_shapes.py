"""Holds answers against the output shapes of botocore's service model."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session

from motrail.sagemaker.rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.request import Request

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": datetime,
    "blob": bytes,
    "list": list,
    "map": dict,
    "structure": dict,
}


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def faults(service: str, operation: str, answer: dict[str, Any]) -> list[str]:
    """What in an answer boto3 would not have given; empty if all is well."""
    shape = _model(service).operation_model(operation).output_shape
    if shape is None:
        return [] if not answer else ["(whole): expected nothing"]
    return list(_walk(shape, answer, ""))


def _walk(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if getattr(shape, "is_eventstream", False):
        return
    if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        yield f"{path}: expected {kind}, found {value!r}"
    elif kind == "structure":
        for name in value.keys() - shape.members.keys():
            yield f"{path}.{name}: no such member"
        for name in set(shape.required_members) - value.keys():
            yield f"{path}.{name}: is missing"
        for name in value.keys() & shape.members.keys():
            yield from _walk(shape.members[name], value[name], f"{path}.{name}")
    elif kind == "list":
        for index, item in enumerate(value):
            yield from _walk(shape.member, item, f"{path}[{index}]")
    elif kind == "map":
        for key, item in value.items():
            yield from _walk(shape.value, item, f"{path}[{key}]")
    elif kind == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is none of {shape.enum}"


class CheckedRehearsal(Rehearsal):
    """A rehearsal that lets no answer pass that boto3 would not have given."""

    def call(self, request: Request) -> dict[str, Any]:
        answer = super().call(request)
        found = faults(request.service, request.operation, answer)
        assert not found, f"{request.operation}: {found}"
        return answer
