"""A CloudFormation template: its parameters, conditions, and functions put into effect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motrail.errors import MissingExtraError
from motrail.sagemaker.rehearsal.site import ACCOUNT, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NOTHING = object()
_SUB = re.compile(r"\$\{(!?)([A-Za-z0-9:.]+)\}")


def read(text: str) -> dict[str, Any]:
    """A template as plain data; YAML's short forms `!Ref x` become `{"Ref": x}`.

    Raises:
        CloudError: It is none.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("yaml", "sagemaker", error) from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Knows CloudFormation's tags."""

    def short(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
        if isinstance(node, yaml.ScalarNode):
            value: Any = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", short)
    try:
        document = yaml.load(text, Loader)  # noqa: S506  (a safe one)
    except yaml.YAMLError as error:
        refuse("ValidationError", f"Template format error: YAML not well-formed. {error}")
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        refuse("ValidationError", "Template format error: At least one Resources member is needed.")
    return document


def parameters(
    document: Mapping[str, Any], given: list[dict[str, Any]], before: Mapping[str, str]
) -> dict[str, str]:
    """The values of a template's parameters.

    Args:
        document: The template.
        given: As in the request.
        before: Those that the stack has.

    Raises:
        CloudError: One is missing, unknown, or not as the template wants it.
    """
    known = document.get("Parameters", {})
    values = {name: str(about["Default"]) for name, about in known.items() if "Default" in about}
    for each in given:
        key = each["ParameterKey"]
        if key not in known:
            refuse("ValidationError", f"Parameters: [{key}] do not exist in the template")
        values[key] = before[key] if each.get("UsePreviousValue") else each["ParameterValue"]
    missing = sorted(known.keys() - values.keys())
    if missing:
        refuse("ValidationError", f"Parameters: [{', '.join(missing)}] must have values")
    for name, about in known.items():
        pattern, longest = about.get("AllowedPattern"), about.get("MaxLength")
        wrong = pattern is not None and re.fullmatch(pattern, values[name]) is None
        wrong |= longest is not None and len(values[name]) > int(longest)
        wrong |= "AllowedValues" in about and values[name] not in map(str, about["AllowedValues"])
        if wrong:
            refuse("ValidationError", f"Parameter '{name}' failed to satisfy its constraints")
    return values


class Resolver:
    """Puts a template's functions into effect.

    Args:
        document: The template.
        stack: Name of the stack.
        region: Where it is.
        values: Of the parameters.
        attribute: Gives `Ref` (with an empty attribute) or `Fn::GetAtt` of a resource.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        stack: str,
        region: str,
        values: Mapping[str, str],
        attribute: Callable[[str, str], str],
    ) -> None:
        self._document = document
        self._values = values
        self._attribute = attribute
        self._pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": region,
            "AWS::Partition": "aws",
            "AWS::StackName": stack,
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{stack}",
            "AWS::URLSuffix": "amazonaws.com",
        }
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_attribute,
            "Fn::Sub": self._substitute,
            "Fn::Join": lambda value: self._text(value[0]).join(map(str, self._list(value[1]))),
            "Fn::Split": lambda value: self._text(value[1]).split(self._text(value[0])),
            "Fn::Select": lambda value: self._list(value[1])[int(self.value(value[0]))],
            "Fn::If": self._if,
            "Fn::Equals": lambda value: self.value(value[0]) == self.value(value[1]),
            "Fn::Not": lambda value: not self.value(value[0]),
            "Fn::And": lambda value: all(self.value(each) for each in value),
            "Fn::Or": lambda value: any(self.value(each) for each in value),
            "Condition": self.condition,
        }

    def value(self, node: Any) -> Any:
        """A node with all functions in it done."""
        found = self._resolve(node)
        return None if found is _NOTHING else found

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        return bool(self.value(self._document["Conditions"][name]))

    def _resolve(self, node: Any) -> Any:
        if isinstance(node, dict):
            if len(node) == 1:
                ((key, value),) = node.items()
                # A policy's Condition is a mapping, a template's is a name.
                if key in self._functions and not (key == "Condition" and isinstance(value, dict)):
                    return self._functions[key](value)
            pairs = ((key, self._resolve(value)) for key, value in node.items())
            return {key: value for key, value in pairs if value is not _NOTHING}
        if isinstance(node, list):
            return [each for each in map(self._resolve, node) if each is not _NOTHING]
        return node

    def _text(self, node: Any) -> str:
        return str(self.value(node))

    def _list(self, node: Any) -> list[Any]:
        found = self.value(node)
        return found if isinstance(found, list) else [found]

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._values:
            kind = self._document["Parameters"][name].get("Type", "String")
            text = self._values[name]
            return text.split(",") if kind.startswith(("CommaDelimited", "List<")) else text
        return self._attribute(name, "")

    def _get_attribute(self, value: Any) -> str:
        parts = value.split(".", 1) if isinstance(value, str) else value
        return self._attribute(parts[0], parts[1])

    def _substitute(self, value: Any) -> str:
        text, more = (value, {}) if isinstance(value, str) else value

        def found(match: re.Match[str]) -> str:
            if match[1]:
                return f"${{{match[2]}}}"
            if match[2] in more:
                return self._text(more[match[2]])
            resource, dot, attribute = match[2].partition(".")
            return self._attribute(resource, attribute) if dot else str(self._ref(match[2]))

        return _SUB.sub(found, text)

    def _if(self, value: Any) -> Any:
        return self._resolve(value[1 if self.condition(value[0]) else 2])
