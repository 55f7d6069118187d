"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from motrail.sagemaker.redact import redact

Parameters = dict[str, Any]
_LONGEST = 100


class Problem(NamedTuple):
    """A place in a request that breaks a rule.

    Attributes:
        path: As in `InputDataConfig[0].ChannelName`.
        expected: What the rule asks for.
        found: What is there, for people to read.
    """

    path: str
    expected: str
    found: str


Find = Callable[[Parameters], Iterator[Problem]]
FindValue = Callable[[Any, str], Iterator[Problem]]


@dataclass(frozen=True)
class Rule:
    """A rule about requests of some operations.

    Attributes:
        name: Shown in messages.
        operations: Names of the operations it holds for; empty means all.
        find: Goes through the parameters, whose types and required members are right already.
    """

    name: str
    operations: frozenset[str]
    find: Find

    @property
    def source(self) -> str:
        """Where the rule stands written: the first paragraph of its docstring."""
        return " ".join((self.find.__doc__ or "").split("\n\n", maxsplit=1)[0].split())


@dataclass(frozen=True)
class ValueRule:
    """A rule about every value of some shapes of the service models, wherever it stands.

    Attributes:
        name: Shown in messages.
        shapes: Names of the shapes.
        find: Takes the value and its path.
    """

    name: str
    shapes: frozenset[str]
    find: FindValue

    @property
    def source(self) -> str:
        """Where the rule stands written: the first paragraph of its docstring."""
        return " ".join((self.find.__doc__ or "").split("\n\n", maxsplit=1)[0].split())


def rule(name: str, *operations: str) -> Callable[[Find], Rule]:
    """Make a function a rule for requests of these operations, or of all."""
    return lambda find: Rule(name, frozenset(operations), find)


def value_rule(name: str, *shapes: str) -> Callable[[FindValue], ValueRule]:
    """Make a function a rule for all values of these shapes."""
    return lambda find: ValueRule(name, frozenset(shapes), find)


def shown(value: object) -> str:
    """A value for a message: short, without secrets, and of bytes only how many."""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    text = redact(repr(value))  # before it is cut: half a key is not known for one
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def twice(values: list[str]) -> list[str]:
    """Those that occur more than once, each named once, in order."""
    return sorted({value for value in values if values.count(value) > 1})
