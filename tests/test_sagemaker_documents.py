"""docs/sagemaker.md: its rehearsal runs as it is written, and its limits are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from commands import caller
from motrail.formats.ground_truth.writer import MAX_SEQUENCES_OF_JOB
from motrail.sagemaker.deployment import MAX_ASYNC_SECONDS, PAYLOAD_MB
from motrail.sagemaker.footage import MAX_LABELS
from motrail.sagemaker.requests.labeling import ACCOUNTS

GUIDE = (Path(__file__).parents[1] / "docs" / "sagemaker.md").read_text(encoding="utf-8")
CHANGES = re.compile(r"…|motrail-(train|tune)-|[0-9]+ s on |Uploading|Completed:")
"""In lines that are another way each time, or are said while it runs and not at the end."""


def section(title: str) -> str:
    """What stands below a heading, up to the next one."""
    pattern = rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)"
    (found,) = re.findall(pattern, GUIDE, re.DOTALL | re.MULTILINE)
    return str(found)


def steps() -> list[tuple[str, list[str]]]:
    """The commands of the rehearsal, each with the lines that the guide shows below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", section("Rehearse, then pay"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif line and not CHANGES.search(line):
                found[-1][1].append(line.strip())
    return found


def rehearse(
    chosen: list[tuple[str, list[str]]], folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Run the commands in an empty folder, and see that they say what the guide says."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    call = caller(capsys)
    for command, shown in chosen:
        name, *words = shlex.split(command)
        assert name == "motrail"
        result = call(*words)
        assert result.code == 0, f"{command}\n{result.out}\n{result.err}"
        said = {line.strip() for line in (result.out + result.err).splitlines()}
        assert not [line for line in shown if line not in said], f"{command}\n{said}"
    assert (folder / "runs" / "players" / "model.tar.gz").is_file()
    for place in ("out/football-0", "out/football-1", "tracks/football-0", "tracks/football-1"):
        assert (folder / f"{place}.txt").is_file()
    assert list((folder / "rehearsal" / "s3").iterdir()) == []


def test_the_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [step for step in steps() if " tune " not in step[0]]
    assert len(chosen) >= 15
    assert all("--rehearse rehearsal" in step for step, _ in chosen if " sagemaker " in step)
    rehearse(chosen, tmp_path, monkeypatch, capsys)


@pytest.mark.proof
def test_the_rehearsal_with_its_tuning_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rehearse(steps(), tmp_path, monkeypatch, capsys)
    assert (tmp_path / "runs" / "tuned" / "model.tar.gz").is_file()


def test_it_says_in_bold_that_nothing_was_run_at_aws() -> None:
    assert "**This was not run against a real account.**" in GUIDE
    assert len(re.findall(r"^- ", section("What is not known"), re.MULTILINE)) >= 8


def test_limits_are_those_of_the_code() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section("Deploying").splitlines()
        if line.startswith("|")
    ]
    columns = rows[0][1:4]
    assert columns == [f"`{kind}`" for kind in PAYLOAD_MB]
    sizes = {row[0]: row[1:4] for row in rows}["sent at once"]
    assert sizes == ["25 MB", "4 MB", "1 GB"]
    assert list(PAYLOAD_MB.values()) == [25, 4, 1024]
    assert MAX_ASYNC_SECONDS == 3600
    labels = section("Labels")
    assert f"{MAX_SEQUENCES_OF_JOB} sequences of 2,000 frames and {MAX_LABELS} classes" in labels
    assert f"{len(ACCOUNTS)} regions" in labels
