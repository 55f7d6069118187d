"""README and docs tell the truth."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from motrail.cli.app import app
from motrail.config import OTHER_VARIABLES, fields, variable_name
from motrail.evaluate.events import ABOUT

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
