"""Hold a request against the service's own model, more strictly than botocore does.

botocore looks at types, required and unknown members and lower limits. Here enums, patterns and
upper limits are looked at too, and `True` is no number.
"""

from __future__ import annotations

import difflib
import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError, MissingExtraError
from motrail.sagemaker.rules.patterns import matches
from motrail.sagemaker.rules.rule import Problem, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STRUCTURAL = frozenset({"required", "unknown-member", "type"})
"""Where one of these is broken, no other rule can be asked."""

_LIMITS_ELSEWHERE = frozenset({"BodyBlob"})
"""Shapes whose `max` in the model is out of date; a named rule has the limit."""

_PYTHON: Mapping[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "long": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
    "boolean": ((bool,), "True or False"),
    "structure": ((dict,), "a dict"),
    "map": ((dict,), "a dict"),
    "list": ((list, tuple), "a list"),
}
_Found = tuple[str, Problem]
_Values = list[tuple[str, str, Any]]


@lru_cache(maxsize=32)
def _service(name: str) -> Any:
    """The model of a service; neither credentials nor configuration are read."""
    try:
        from botocore.exceptions import UnknownServiceError
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError as error:
        raise MissingExtraError("botocore", "sagemaker", error) from error
    try:
        return ServiceModel(Loader().load_service_model(name, "service-2"), name)
    except UnknownServiceError:
        raise ConfigError(f"{name!r}: expected a service that boto3 knows") from None


def input_shape(service: str, operation: str) -> Any:
    """The shape of an operation's parameters; None where it takes none.

    Raises:
        ConfigError: There is no such service or operation.
        MissingExtraError: botocore is not installed.
    """
    return _operation(service, operation).input_shape


def _operation(service: str, operation: str) -> Any:
    model = _service(service)
    if operation not in model.operation_names:
        raise ConfigError(
            f"{service} {operation}: expected an operation of this service, found none of that "
            f"name{_nearest(operation, model.operation_names)}"
        )
    return model.operation_model(operation)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def hold(service: str, operation: str, parameters: Any) -> tuple[list[_Found], _Values]:
    """Hold parameters against the model.

    Returns:
        Broken rules by name, and all values that have a shape: name of the shape, path, value.
    """
    model = _operation(service, operation)
    found: list[_Found] = []
    values: _Values = []
    free = set(model.idempotent_members)
    if model.input_shape is None:
        if parameters:
            problem = Problem("parameters", "none for this operation", shown(sorted(parameters)))
            found.append(("unknown-member", problem))
        return found, values
    found.extend(_walk(parameters, model.input_shape, "", values, free))
    return found, values


def botocore_finds(service: str, operation: str, parameters: dict[str, Any]) -> str | None:
    """What botocore's own validation says, None where it is content."""
    from botocore.validate import ParamValidator

    model = _operation(service, operation)
    if model.input_shape is None:
        return None
    given = dict.fromkeys(model.idempotent_members, "token") | parameters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dateutil's about times
        report = ParamValidator().validate(given, model.input_shape)
    return str(report.generate_report()) if report.has_errors() else None


def _walk(
    value: Any, shape: Any, path: str, values: _Values, free: set[str] | None = None
) -> Iterator[_Found]:
    kind = str(shape.type_name)
    if kind in _PYTHON and not _has_type(value, kind):
        yield "type", Problem(path or "parameters", _PYTHON[kind][1], shown(value))
        return
    values.append((shape.name, path, value))
    if kind == "structure":
        yield from _structure(value, shape, path, values, free or set())
    elif kind == "list":
        yield from _length(len(value), shape, path, "items")
        for index, item in enumerate(value):
            yield from _walk(item, shape.member, f"{path}[{index}]", values)
    elif kind == "map":
        yield from _length(len(value), shape, path, "entries")
        for key, item in value.items():
            yield from _walk(key, shape.key, f"{path} (key {shown(key)})", values)
            yield from _walk(item, shape.value, f"{path}.{key}", values)
    else:
        yield from _SCALARS.get(kind, _nothing)(value, shape, path)


def _has_type(value: Any, kind: str) -> bool:
    types = _PYTHON[kind][0]
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _structure(
    value: dict[Any, Any], shape: Any, path: str, values: _Values, free: set[str]
) -> Iterator[_Found]:
    members = shape.members
    dot = f"{path}." if path else ""
    for name in shape.required_members:
        if name not in value and name not in free:
            yield "required", Problem(f"{dot}{name}", "a value", "none")
    for name, item in value.items():
        if name in members:
            yield from _walk(item, members[name], f"{dot}{name}", values)
        else:
            expected = f"a member that {shape.name} has"
            found = f"{shown(name)}{_nearest(str(name), list(members))}"
            yield "unknown-member", Problem(f"{dot}{name}", expected, found)


def _length(size: int, shape: Any, path: str, of_what: str) -> Iterator[_Found]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield "length", Problem(path, f"at least {low:,} {of_what}", f"{size:,}")
    elif high is not None and size > high:
        yield "length", Problem(path, f"at most {high:,} {of_what}", f"{size:,}")


def _text(value: str, shape: Any, path: str) -> Iterator[_Found]:
    too_long = list(_length(len(value), shape, path, "characters"))
    yield from too_long
    enum = shape.enum
    if enum and value not in enum:
        few = ", ".join(enum) if len(enum) <= 8 else f"one of {len(enum)} known values"
        yield "enum", Problem(path, few, f"{shown(value)}{_nearest(value, enum)}")
    pattern = shape.metadata.get("pattern")
    if pattern and not too_long and not matches(pattern, value):
        yield "pattern", Problem(path, f"text that matches {pattern}", shown(value))


def _number(value: float, shape: Any, path: str) -> Iterator[_Found]:
    if not math.isfinite(value):
        yield "range", Problem(path, "a finite number", shown(value))
        return
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield "range", Problem(path, f"at least {low:,}", f"{value:,}")
    elif high is not None and value > high:
        yield "range", Problem(path, f"at most {high:,}", f"{value:,}")


def _blob(value: Any, shape: Any, path: str) -> Iterator[_Found]:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, (bytes, bytearray)):
        if shape.name not in _LIMITS_ELSEWHERE:
            yield from _length(len(value), shape, path, "bytes")
    elif not hasattr(value, "read"):
        yield "type", Problem(path, "bytes", shown(value))


def _nothing(_value: Any, _shape: Any, _path: str) -> Iterator[_Found]:
    """Timestamps, which botocore's validation reads."""
    return iter(())


_SCALARS: Mapping[str, Callable[[Any, Any, str], Iterator[_Found]]] = {
    "string": _text,
    "integer": _number,
    "long": _number,
    "float": _number,
    "double": _number,
    "blob": _blob,
}
