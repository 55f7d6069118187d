"""Where things are in a container: everything hangs below `/opt/ml`, or below another root.

Source: the SageMaker developer guide, "How Amazon SageMaker provides training information", "Use
your own inference code with hosting services" and "Build your own processing container".
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError, FormatError
from motrail.outputs import WholeFile, writing
from motrail.sagemaker.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT_VARIABLE = "MOTRAIL_OPT_ML"
"""Environment variable that moves the root, for rehearsals and tests."""
MESSAGE_BYTES = 1024
"""So much of a message reaches `FailureReason` of a training job and `ExitMessage` of a processing
job."""
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class Places:
    """The paths below one root.

    Attributes:
        root: `/opt/ml` in a container.
    """

    root: Path = Path("/opt/ml")

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Places:
        """Below the root that the environment names, else below `/opt/ml`."""
        return cls(Path(environ.get(ROOT_VARIABLE) or "/opt/ml").absolute())

    @property
    def run(self) -> Path:
        """The folder of the training run: what SageMaker keeps when the instance is taken away."""
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """What training leaves here becomes `model.tar.gz`, and an endpoint finds it here again."""
        return self.root / "model"

    @property
    def output_data(self) -> Path:
        """What training leaves beside the model."""
        return self.root / "output" / "data"

    @property
    def failure(self) -> Path:
        """Why training failed."""
        return self.root / "output" / "failure"

    @property
    def message(self) -> Path:
        """What came of processing."""
        return self.root / "output" / "message"

    @property
    def training_config(self) -> Path:
        """Folder of what is known of a training job."""
        return self.root / "input" / "config"

    @property
    def processing_config(self) -> Path:
        """Folder of what is known of a processing job."""
        return self.root / "config"

    @property
    def processed(self) -> Path:
        """What processing leaves."""
        return self.root / "processing" / "output"

    def channel(self, name: str) -> Path:
        """Folder of a channel of a training job."""
        return self.root / "input" / "data" / name

    def processing_input(self, name: str) -> Path:
        """Folder of an input of a processing job."""
        return self.root / "processing" / "input" / name


def read_config(path: Path) -> dict[str, Any]:
    """One of the JSON files that say what the job is; empty where it is not there.

    Raises:
        FormatError: It is no JSON object.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _MAX_CONFIG_BYTES:
        raise FormatError(path, f"expected at most {_MAX_CONFIG_BYTES} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(path, f"expected a JSON object, found {type(found).__name__}")
    return found


def write_message(path: Path, text: str) -> None:
    """Write a file that SageMaker shows: no secrets, on one line, of at most 1,024 bytes.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with WholeFile(path) as file:
            file.temporary.write_bytes(shortened(redact(" ".join(text.split()))))


def shortened(text: str, limit: int = MESSAGE_BYTES) -> bytes:
    """UTF-8 of a text, cut at a whole character and with `…` at the end where it is too long."""
    content = text.encode(errors="replace")
    if len(content) <= limit:
        return content
    end = "…".encode()
    return content[: limit - len(end)].decode(errors="ignore").encode() + end
