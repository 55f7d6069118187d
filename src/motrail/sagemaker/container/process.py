"""The entry point `process`: `motrail batch` on what SageMaker laid out, as a share of many.

- `process videos`: track all videos that this host was given. With several hosts each is given
  others (`ShardedByS3Key`), and the manifest is called `batch-HOST.json`, for all results come
  together in one place.
- `process detect`: detect in this host's share of the stretches of all videos, which each host was
  given (`FullyReplicated`).
- `process associate`: track what all of them detected; on one host.

Inputs are `videos`, `model` (a bundle), `kept` (results of an earlier try, or of `detect`) and
`config` (a TOML file); of these only the first two must be there. Further words are flags of
`motrail batch`.

A video that cannot be read does not make the job fail where others could be: results of a job that
failed are not sure to be kept. The manifest and the message say what became of each.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from motrail.batch.find import KEPT
from motrail.batch.manifest import MANIFEST
from motrail.errors import ConfigError
from motrail.outputs import WholeFile, output_folder, writing
from motrail.sagemaker.container.hosts import read_hosts
from motrail.sagemaker.container.places import ROOT_VARIABLE, write_message
from motrail.sagemaker.container.work import STOPPED, FailedError, say, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.sagemaker.container.hosts import Hosts
    from motrail.sagemaker.container.places import Places
    from motrail.sagemaker.container.work import Stop

WAYS = ("videos", "detect", "associate")
_OURS = frozenset(
    {"--shard", "--associate", "--model", "-m", "--config", "-c", "--json", "--output", "-o"}
)
_STOPPING_SECONDS = 100.0
_REASON = 200  # characters
_REPORT = "detected-"
"""Begins the name of what a host tells of the videos that it detected in."""


def process(
    places: Places, words: Sequence[str], stop: Stop, environ: Mapping[str, str] = os.environ
) -> int:
    """Do this host's share.

    Args:
        places: Where things are.
        words: The way and flags of `motrail batch`.
        stop: Hears SIGTERM.
        environ: The environment.

    Returns:
        The exit code.

    Raises:
        MotrailError: Something is wrong, or nothing could be done.
    """
    way, flags = parse(words)
    hosts = read_hosts(places.processing_config)
    if way == "associate" and len(hosts) > 1:
        raise ConfigError(f"process associate: expected one host, found {len(hosts)}")
    videos = places.processing_input("videos")
    if way == "videos" and len(hosts) > 1 and not any(_files(videos)):
        write_message(places.message, "done: no video was left for this host")
        return 0
    output = output_folder(places.processed)
    restore(places.processing_input("kept"), output)
    share = {
        "videos": [],
        "detect": [f"--shard={hosts.rank + 1}/{len(hosts)}"],
        "associate": ["--associate"],
    }[way]
    config = find_config(places)
    if config is not None:
        share.append(f"--config={config}")
    command = [sys.executable, "-m", "motrail", "batch", str(videos), str(output),
               f"--model={find_model(places)}", *share, "--json", *flags]  # fmt: skip
    environ = {name: text for name, text in environ.items() if name != ROOT_VARIABLE}
    document, reason = _batch(command, {"PYTHONUNBUFFERED": "1", **environ}, stop)
    if stop.asked() and reason is not None:
        write_message(places.message, "stopped: told to stop before all was done")
        return STOPPED
    if document is None:
        raise FailedError(reason or "motrail batch said nothing")
    rows = document["videos"]
    if way == "videos" and len(hosts) > 1:
        name_manifest(output, hosts, [row["name"] for row in rows])
    if way == "detect":  # shares write no manifest, and only they know why a video failed
        with writing(output):
            _write_manifest(output / f"{_REPORT}{hosts.current}.json", rows)
    if way == "associate":  # it came from where it is kept, and need not go back
        shutil.rmtree(output / KEPT, ignore_errors=True)
    message = summary(rows, detected_only=way == "detect")
    write_message(places.message, message)
    say(message)
    failed = message.startswith("failed") and not (way == "videos" and len(hosts) > 1)
    return 1 if failed else 0


def parse(words: Sequence[str]) -> tuple[str, list[str]]:
    """The way and the flags.

    Raises:
        ConfigError: There is no such way, or a flag says what the job says.
    """
    way = words[0] if words else ""
    if way not in WAYS:
        raise ConfigError(f"process: expected one of {', '.join(WAYS)}, found {way!r}")
    for word in words[1:]:
        if word.partition("=")[0] in _OURS:
            raise ConfigError(
                f"process {way}: {word}: what is processed, with what and by whom is said by the "
                "job's inputs and instances; leave it out"
            )
    return way, list(words[1:])


def find_model(places: Places) -> Path:
    """The bundle: a folder, an archive or a bare `.onnx`.

    Raises:
        ConfigError: There is none.
    """
    folder = places.processing_input("model")
    if (folder / "model.onnx").is_file() and (folder / "model.json").is_file():
        return folder
    found = [path for path in _files(folder) if path.name.endswith((".tar.gz", ".tgz", ".onnx"))]
    if len(found) != 1:
        raise ConfigError(
            f"input model: expected a model.tar.gz in {folder}, found {len(found)} models"
        )
    return found[0]


def find_config(places: Places) -> Path | None:
    """The file with settings, if there is one.

    Raises:
        ConfigError: There are several.
    """
    folder = places.processing_input("config")
    found = [path for path in _files(folder) if path.suffix == ".toml"]
    if len(found) > 1:
        raise ConfigError(f"input config: expected one .toml in {folder}, found {len(found)}")
    return found[0] if found else None


def restore(kept: Path, output: Path) -> None:
    """Lay out the results of an earlier try, or of other hosts, so that they need not be made anew.

    Manifests of several hosts become one. Hidden files are half-written ones, and stay away; so do
    reports of an earlier detection.

    Raises:
        OutputError: They cannot be written.
    """
    rows: dict[str, Any] = {}
    with writing(output):
        for path in _files(kept):
            if path.parent == kept and path.suffix == ".json" and path.stem.startswith("batch"):
                rows |= {row["name"]: row for row in _manifest_rows(path)}
                continue
            if path.parent == kept and path.suffix == ".json" and path.name.startswith(_REPORT):
                continue
            target = output / path.relative_to(kept)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if rows:
            _write_manifest(output / MANIFEST, list(rows.values()))


def name_manifest(output: Path, hosts: Hosts, names: Sequence[str]) -> None:
    """Leave the manifest under a name of this host, with the videos that it was given.

    Raises:
        OutputError: It cannot be written.
    """
    wanted = set(names)
    rows = [row for row in _manifest_rows(output / MANIFEST) if row["name"] in wanted]
    with writing(output):
        _write_manifest(output / f"batch-{hosts.current}.json", rows)
        (output / MANIFEST).unlink(missing_ok=True)


def summary(rows: Sequence[Mapping[str, Any]], *, detected_only: bool = False) -> str:
    """What became of all videos, in one line.

    Args:
        rows: Of the document of `motrail batch --json`.
        detected_only: Whether nothing was to be tracked.
    """
    good = ("done", "detected", "waiting") if detected_only else ("done",)
    bad = [row for row in rows if row["state"] not in good]
    fine = len(rows) - len(bad)
    if detected_only:
        told = f"{sum(row['chunks_now'] for row in rows):,} chunks detected"
    else:
        told = f"{sum(row['tracks'] for row in rows):,} tracks"
    if not bad:
        return f"done: {fine} videos, {told}"
    some = fine or any(row["state"] == "partly" for row in bad)
    reasons = "; ".join(f"{row['name']}: {str(row['reason'])[:_REASON]}" for row in bad)
    return f"{'partly done' if some else 'failed'}: {fine} of {len(rows)} videos, {told}; {reasons}"


def _batch(
    command: Sequence[str], environ: Mapping[str, str], stop: Stop
) -> tuple[dict[str, Any] | None, str | None]:
    """Run it; gives the document it ends with, if any, and why its exit code was not 0."""
    with tempfile.TemporaryFile() as file:
        reason = work(command, environ, stop, grace=_STOPPING_SECONDS, stdout=file)
        file.seek(0)
        try:
            return json.loads(file.read()), reason
        except ValueError:
            return None, reason


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and all below that are not hidden; none where there is no folder."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _manifest_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a manifest; none of one that cannot be understood: then it is done anew."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["videos"]
        return [row for row in rows if isinstance(row["name"], str)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _write_manifest(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = json.dumps({"videos": rows}, indent=1, ensure_ascii=False)
    with WholeFile(path) as file:
        file.temporary.write_bytes((text + "\n").encode(errors="backslashreplace"))
