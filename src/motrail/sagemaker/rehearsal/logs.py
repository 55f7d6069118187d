"""CloudWatch Logs: what the containers say, kept a line of JSON each."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from motrail.sagemaker.rehearsal.site import page, refuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from motrail.sagemaker.rehearsal.site import Operations, Site

_MOST = 10_000


class Logs:
    """The log groups of a rehearsal."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._root = site.folder / "logs"

    def writer(self, group: str, stream: str) -> Callable[[str], None]:
        """What adds a line to a stream, which is there from now on."""
        path = self._path(group, stream)
        with self._site.lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

        def write(line: str) -> None:
            event = {"timestamp": _milliseconds(), "message": line}
            with self._site.lock, path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

        return write

    def operations(self) -> Operations:
        """By their names."""
        return {
            "DescribeLogGroups": self._groups,
            "DescribeLogStreams": self._streams,
            "GetLogEvents": self._events,
            "FilterLogEvents": self._filter,
            "DeleteLogGroup": self._delete_group,
            "DeleteLogStream": self._delete_stream,
        }

    def _path(self, group: str, stream: str) -> Path:
        return self._root / quote(group, safe="") / f"{quote(stream, safe='')}.jsonl"

    def _group(self, given: dict[str, Any]) -> Path:
        folder = self._root / quote(given["logGroupName"], safe="")
        if not folder.is_dir():
            refuse("ResourceNotFoundException", "The specified log group does not exist.")
        return folder

    def _read(self, path: Path, given: dict[str, Any]) -> list[dict[str, Any]]:
        if not path.is_file():
            refuse("ResourceNotFoundException", "The specified log stream does not exist.")
        with self._site.lock:
            lines = path.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines]
        first, last = given.get("startTime", 0), given.get("endTime")
        return [
            event | {"ingestionTime": event["timestamp"]}
            for event in events
            if event["timestamp"] >= first and (last is None or event["timestamp"] < last)
        ]

    def _groups(self, given: dict[str, Any]) -> dict[str, Any]:
        prefix = given.get("logGroupNamePrefix", "")
        folders = sorted(self._root.iterdir()) if self._root.is_dir() else []
        groups = [
            {
                "logGroupName": unquote(folder.name),
                "creationTime": int(folder.stat().st_ctime * 1000),
                "arn": self._site.arn("logs", f"log-group:{unquote(folder.name)}:*"),
                "storedBytes": sum(path.stat().st_size for path in folder.iterdir()),
            }
            for folder in folders
            if unquote(folder.name).startswith(prefix)
        ]
        return page(groups, given, "logGroups", size="limit", token="nextToken")  # noqa: S106

    def _streams(self, given: dict[str, Any]) -> dict[str, Any]:
        folder = self._group(given)
        prefix = given.get("logStreamNamePrefix", "")
        streams = []
        for path in sorted(folder.iterdir()):
            name = unquote(path.stem)
            if name.startswith(prefix):
                events = self._read(path, {})
                streams.append(self._stream(given["logGroupName"], name, events, path))
        if given.get("orderBy") == "LastEventTime":
            streams.sort(key=lambda stream: stream.get("lastEventTimestamp", 0))
        if given.get("descending"):
            streams.reverse()
        return page(streams, given, "logStreams", size="limit", token="nextToken")  # noqa: S106

    def _stream(
        self, group: str, name: str, events: list[dict[str, Any]], path: Path
    ) -> dict[str, Any]:
        stream: dict[str, Any] = {
            "logStreamName": name,
            "creationTime": int(path.stat().st_ctime * 1000),
            "arn": self._site.arn("logs", f"log-group:{group}:log-stream:{name}"),
            "storedBytes": 0,
        }
        if events:
            stream["firstEventTimestamp"] = events[0]["timestamp"]
            stream["lastEventTimestamp"] = events[-1]["timestamp"]
            stream["lastIngestionTime"] = events[-1]["timestamp"]
        return stream

    def _events(self, given: dict[str, Any]) -> dict[str, Any]:
        """Forward tokens give what comes after, and themselves at the end, as AWS's do."""
        folder = self._group(given)
        path = folder / f"{quote(given['logStreamName'], safe='')}.jsonl"
        events = self._read(path, given)
        most = given.get("limit", _MOST)
        token = given.get("nextToken")
        if token is None:
            first = 0 if given.get("startFromHead") else max(0, len(events) - most)
        else:
            way, _, place = token.partition("/")
            if way not in {"f", "b"} or not place.isdecimal():
                refuse("InvalidParameterException", "The specified nextToken is invalid.")
            first = int(place) if way == "f" else max(0, int(place) - most)
        last = min(len(events), first + most)
        return {
            "events": events[first:last],
            "nextForwardToken": f"f/{last:056}",
            "nextBackwardToken": f"b/{first:056}",
        }

    def _filter(self, given: dict[str, Any]) -> dict[str, Any]:
        folder = self._group(given)
        wanted = given.get("logStreamNames")
        prefix = given.get("logStreamNamePrefix", "")
        pattern = given.get("filterPattern", "").strip('"')
        found = []
        for path in sorted(folder.iterdir()):
            name = unquote(path.stem)
            if name.startswith(prefix) and (wanted is None or name in wanted):
                found += [
                    event | {"logStreamName": name, "eventId": f"{quote(name)}/{index:08}"}
                    for index, event in enumerate(self._read(path, given))
                    if pattern in event["message"]
                ]
        found.sort(key=lambda event: event["timestamp"])
        size = {"limit": _MOST, **given}
        return page(found, size, "events", size="limit", token="nextToken")  # noqa: S106

    def _delete_group(self, given: dict[str, Any]) -> dict[str, Any]:
        folder = self._group(given)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        return {}

    def _delete_stream(self, given: dict[str, Any]) -> dict[str, Any]:
        path = self._group(given) / f"{quote(given['logStreamName'], safe='')}.jsonl"
        if not path.is_file():
            refuse("ResourceNotFoundException", "The specified log stream does not exist.")
        path.unlink()
        return {}


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
