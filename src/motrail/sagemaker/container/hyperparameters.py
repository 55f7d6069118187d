"""What a training job is told: hyperparameters, which are all text."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motrail.config import Layer, environment_layer, resolve
from motrail.config.layers import checked, nearest
from motrail.config.training import TrainSettings
from motrail.errors import ConfigError, FormatError
from motrail.sagemaker.container.places import read_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE = "hyperparameters.json"
_OWN = ("model", "classes", "map", "preset")
_SETTINGS = tuple(item.name for item in dataclasses.fields(TrainSettings))
# A tuning job adds the name of its objective, and the SDK what its own containers would need.
_NOT_OURS = ("_tuning_objective_metric", "sagemaker_")
_SECTION = "MOTRAIL_TRAIN_"


@dataclass(frozen=True)
class Order:
    """What is to be trained.

    Attributes:
        model: Such as `yolox-nano`.
        classes: Names of the classes to learn; empty for all.
        names: `NAME=NAME`: what a class of the dataset is called in `classes`.
        preset: How the network of the weights wants its pictures.
        settings: Of `[train]`, those that somebody chose.
    """

    model: str
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    preset: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def words(self) -> Iterator[str]:
        """For the command line of `motrail train`, all but the settings."""
        yield f"--model={self.model}"
        if self.classes:
            yield f"--classes={','.join(self.classes)}"
        yield from (f"--map={name}" for name in self.names)
        if self.preset is not None:
            yield f"--preset={self.preset}"

    def toml(self) -> str:
        """The settings as a file for `--config`."""
        # JSON's numbers, words, texts and lists are TOML's, too.
        rows = [f"{key} = {json.dumps(value)}" for key, value in self.settings.items()]
        return "\n".join(["[train]", *rows, ""])


def read_order(folder: Path, environ: Mapping[str, str]) -> Order:
    """What is to be trained, by `hyperparameters.json` and the environment.

    A value is written as in TOML: `30`, `0.01`, `true`, `[0.5, 1.5]`; text may go without quotes.
    Hyperparameters weigh more than variables MOTRAIL_TRAIN_….

    Args:
        folder: Where the file stands.
        environ: The environment.

    Raises:
        ConfigError: There is no model, or a name or value is wrong.
        FormatError: The file is not as expected.
    """
    path = folder / FILE
    given = _texts(path)
    model = _text(given.get("model", ""))
    if not model:
        raise ConfigError("hyperparameter model: expected a name such as yolox-s, found none")
    preset = _text(given.get("preset", ""))
    values = {
        key: _value(key, text)
        for key, text in given.items()
        if key not in _OWN and not key.startswith(_NOT_OURS)
    }
    layers = [Layer("hyperparameters", {"train": values}), environment_layer(_of_train(environ))]
    resolved = resolve(layers)
    chosen = [key for key in _SETTINGS if resolved.origins["train", key] != "default"]
    settings = dataclasses.asdict(resolved.settings.train)
    return Order(
        model,
        tuple(_names(given.get("classes", ""))),
        tuple(_names(given.get("map", ""))),
        preset or None,
        {key: settings[key] for key in chosen if settings[key] is not None},
    )


def without_training(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that `read_order` has read."""
    return {name: text for name, text in environ.items() if not name.startswith(_SECTION)}


def _of_train(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environ.items() if name.startswith(_SECTION)}


def _texts(path: Path) -> dict[str, str]:
    given = read_config(path)
    for key, text in given.items():
        if not isinstance(text, str):
            raise FormatError(path, f"expected text, found {text!r}", where=key)
        if key not in (*_OWN, *_SETTINGS) and not key.startswith(_NOT_OURS):
            raise ConfigError(f"hyperparameter {key}: unknown{nearest(key, (*_OWN, *_SETTINGS))}")
    return given


def _toml(text: str) -> Any:
    """A value as TOML writes it; None where it is none."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return found["value"] if set(found) == {"value"} else None


def _value(key: str, text: str) -> Any:
    """A setting in its own type."""
    origin = f"hyperparameter {key}"
    value = _toml(text)
    if value is None or isinstance(value, str):
        return checked("train", key, text if value is None else value, origin, text=True)
    return checked("train", key, value, origin)


def _text(text: str) -> str:
    """Text with or without quotes."""
    value = _toml(text)
    return value if isinstance(value, str) else text.strip()


def _names(text: str) -> list[str]:
    """Names in a list or divided by commas."""
    value = _toml(text)
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    return [name.strip() for name in _text(text).split(",") if name.strip()]
