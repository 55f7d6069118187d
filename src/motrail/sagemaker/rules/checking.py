"""Hold a request against everything known before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError
from motrail.sagemaker.redact import redact
from motrail.sagemaker.rules import (
    common,
    endpoint,
    hosting,
    invoke,
    labeling,
    processing,
    scaling,
    training,
    tuning,
)
from motrail.sagemaker.rules.model import STRUCTURAL, botocore_finds, hold
from motrail.sagemaker.rules.rule import Problem, Rule, ValueRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.request import Request

_FAMILIES = (
    common,
    endpoint,
    hosting,
    invoke,
    labeling,
    processing,
    scaling,
    training,
    tuning,
)
RULES: tuple[Rule | ValueRule, ...] = tuple(
    value
    for family in _FAMILIES
    for value in vars(family).values()
    if isinstance(value, (Rule, ValueRule))
)
"""All named rules, beside those of the service models."""

_MOST = 5
_LONGEST = 300


def check(request: Request) -> None:
    """See that a request obeys the service's model and every rule known; nothing is sent.

    Raises:
        ConfigError: It does not. The message has the operation, the path of the value, what was
            expected, what was found and the name of the rule, for up to five broken rules.
        MissingExtraError: botocore is not installed.
    """
    problems = list(_problems(request))
    if problems:
        shown = "; ".join(
            f"{_cut(path)}: expected {_cut(expected)}, found {_cut(found)} [rule {name}]"
            for name, (path, expected, found) in problems[:_MOST]
        )
        more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
        raise ConfigError(redact(f"{request.service} {request.operation}: {shown}{more}"))


def _cut(text: str) -> str:
    text = redact(text)  # before it is cut: half a key is not known for one
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _problems(request: Request) -> Iterator[tuple[str, Problem]]:
    found, values = hold(request.service, request.operation, request.parameters)
    yield from found
    if any(name in STRUCTURAL for name, _ in found):
        return
    report = botocore_finds(request.service, request.operation, request.parameters)
    if report is not None and not found:
        yield "botocore", Problem("parameters", "what botocore takes", report.replace("\n", "; "))
        return
    yield from _named(request, values)


def _named(request: Request, values: list[tuple[str, str, Any]]) -> Iterator[tuple[str, Problem]]:
    for rule in RULES:
        if isinstance(rule, ValueRule):
            for shape, path, value in values:
                if shape in rule.shapes:
                    for problem in rule.find(value, path):
                        yield rule.name, problem
        elif not rule.operations or request.operation in rule.operations:
            for problem in rule.find(request.parameters):
                yield rule.name, problem
