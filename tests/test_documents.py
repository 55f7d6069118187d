"""README and docs tell the truth."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from models import spots_picture
from motrail.cli.app import app
from motrail.config import OTHER_VARIABLES, Preset, fields, variable_name
from motrail.detect.bundle import Format, ModelSpec
from motrail.evaluate.events import ABOUT
from motrail.formats.mot.tracks import read_tracks

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return [
        block
        for document in DOCUMENTS
        for block in re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)
    ]


def commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return sorted({line.removeprefix("$ ") for line in lines if line.startswith("$ ")})


def test_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    examples = blocks("python")
    assert examples
    for example in examples:
        exec(compile(example, "example", "exec"), {})  # noqa: S102
    assert "[1] [[100.  50. 180. 260.]] [0]" in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("motrail ")])
def test_commands_are_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [shlex.split(c)[1] for c in commands() if c.startswith("make ")]
    assert used
    assert set(used) <= set(targets)


def test_local_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_causes_of_errors_are_all_explained() -> None:
    document = (ROOT / "docs" / "evaluating.md").read_text()
    for cause, meaning in ABOUT.items():
        assert f"| {cause} | {meaning} |" in document


def test_every_preset_and_format_is_explained() -> None:
    document = (ROOT / "docs" / "detectors.md").read_text()
    for name in (*get_args(Preset), *get_args(Format)):
        assert f"`{name}`" in document


def test_the_bundle_in_the_document_is_one() -> None:
    found = re.findall(
        r"```json\n(.*?)```", (ROOT / "docs" / "detectors.md").read_text(), re.DOTALL
    )
    assert len(found) == 1
    spec = ModelSpec.model_validate_json(found[0])
    assert spec.classes == ("parcel", "letter")
    assert spec.input.scale == 1 / 255
    assert set(json.loads(found[0])["tracker"]) <= {key for _, key, _ in fields()}


def test_a_detector_of_ones_own(tmp_path: Path) -> None:
    """The example of docs/detectors.md on a square that comes in after ten empty frames."""
    document = (ROOT / "docs" / "detectors.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
    (tmp_path / "moving.py").write_text(code)
    (tmp_path / "clip").mkdir()
    lefts = [None] * 10 + [float(4 * i) for i in range(20)]
    for number, left in enumerate(lefts):
        image = spots_picture([] if left is None else [left])
        assert cv2.imwrite(str(tmp_path / "clip" / f"{number:02}.png"), image)
    command = [sys.executable, "moving.py", "clip", "tracks.txt"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    rows = read_tracks(tmp_path / "tracks.txt")
    # A track that begins in the middle is given out from its second frame on.
    assert rows.frames.tolist() == list(range(12, 31))
    assert set(rows.ids.tolist()) == {1}
    expected = [[4 * (frame - 11), 16, 16, 16] for frame in rows.frames.tolist()]
    np.testing.assert_allclose(rows.boxes_xywh, expected, atol=1.5)


def settings_table() -> str:
    """The tables of docs/settings.md as they should be."""
    parts, last = [], ""
    for section, key, item in fields():
        if section != last:
            parts.append(
                f"\n## [{section}]\n\n| key | default | environment variable | what it does |"
                "\n|---|---|---|---|"
            )
            last = section
        default = "–" if item.default is None else f"`{item.default}`"
        about = item.metadata["about"].replace("|", "\\|")
        parts.append(f"| `{key}` | {default} | `{variable_name(section, key)}` | {about} |")
    parts.append("\n## Other environment variables\n\n| variable | what it is |\n|---|---|")
    parts += [f"| `{name}` | {about} |" for name, about in OTHER_VARIABLES.items()]
    return "\n".join(parts).strip() + "\n"


def test_settings_table_is_up_to_date() -> None:
    document = (ROOT / "docs" / "settings.md").read_text()
    assert document.endswith(settings_table()), (
        "docs/settings.md: run `python tests/test_documents.py` to write it anew"
    )


def write_settings() -> None:
    path = ROOT / "docs" / "settings.md"
    head = path.read_text().partition("\n## [")[0]
    path.write_text(f"{head}\n{settings_table()}")


if __name__ == "__main__":
    write_settings()
