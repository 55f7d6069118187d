"""Settings as flags of the command line."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Optional, get_type_hints

from cyclopts import Group, Parameter

from motrail.config import SECTIONS, Layer, environment_layer, resolve, toml_layer
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from cyclopts import Token

    from motrail.config import Resolved
    from motrail.detect.bundle import Bundle, ModelSpec


def group_of(section: str, about: str = "") -> Group:
    """Under what heading `--help` shows the settings of a section.

    Args:
        section: Its name.
        about: What stands below the heading.
    """
    return Group(f"{section.capitalize()} settings", help=about)


def flags_of(section: str, shown: Collection[str] | None = None, about: str = "") -> Any:
    """The annotation of a parameter that takes a flag for every setting of the section.

    Its value is an object with an attribute for each, None where the flag was not given.

    Args:
        section: Its name.
        shown: Settings that `--help` tells of; all if None. The others are taken all the same.
        about: What stands below the heading of the section.
    """
    cls = SECTIONS[section]
    hints = get_type_hints(cls)
    group = group_of(section, about)
    fields = []
    for item in dataclasses.fields(cls):
        kind: Any = str if item.name == "classes" else hints[item.name]
        text = item.metadata["about"]
        if item.default is not None:
            text += f" [default: {item.default}]"
        whole = _whole_number if int in (kind, *getattr(kind, "__args__", ())) else None
        parameter = Parameter(
            help=text,
            group=group,
            show=shown is None or item.name in shown,
            show_default=False,
            converter=whole,
        )
        flag = Annotated[Optional[kind], parameter]  # noqa: UP045
        fields.append((item.name, flag, dataclasses.field(default=None)))
    flags: Any = dataclasses.make_dataclass(
        f"{cls.__name__}Flags", fields, frozen=True, kw_only=True
    )
    flags.__module__ = __name__  # cyclopts takes a class of the module `types` for a plain value
    return Annotated[Optional[flags], Parameter(name="*")]  # noqa: UP045


def _whole_number(_type: Any, tokens: Sequence[Token]) -> int:
    return int(tokens[0].value)  # left to itself, cyclopts would round 1.5


def resolve_settings(
    flags: dict[str, Any], config: Path | None, bundle: Bundle | None = None
) -> Resolved:
    """Settings from flags, environment, file and bundle, in this order of weight.

    Args:
        flags: Section → instance of what `flags_of` made, or None.
        config: The TOML file of `--config`.
        bundle: The model, which may bring thresholds and tracker settings.
    """
    given = {
        section: {key: value for key, value in vars(values).items() if value is not None}
        for section, values in flags.items()
        if values is not None
    }
    layers = [Layer("flag", given), environment_layer()]
    if config is not None:
        layers.append(toml_layer(config))
    if bundle is not None and bundle.spec is not None:
        layers.append(_bundle_layer(bundle, bundle.spec))
    return resolve(layers)


def _bundle_layer(bundle: Bundle, spec: ModelSpec) -> Layer:
    thresholds = {"score_threshold": spec.thresholds.score, "nms_threshold": spec.thresholds.nms}
    return Layer(
        f"{bundle.path}: model.json",
        {
            "detector": {key: value for key, value in thresholds.items() if value is not None},
            "tracker": spec.tracker,
        },
    )


def parse_map(words: Sequence[str]) -> dict[str, str]:
    """Names and what they are called elsewhere, from `person=pedestrian`.

    Raises:
        ConfigError: A word is something else, or a name stands there twice.
    """
    names: dict[str, str] = {}
    for word in words:
        name, equals, called = (part.strip() for part in word.partition("="))
        if not (name and equals and called):
            raise ConfigError(f"--map: expected NAME=NAME as in person=pedestrian, found {word!r}")
        if names.setdefault(name, called) != called:
            raise ConfigError(f"--map: expected one name for {name!r}, found {names[name]!r} and "
                              f"{called!r}")  # fmt: skip
    return names
