"""What all services of a rehearsal share: where things are kept, who runs, how AWS says no."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import threading
import uuid
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from motrail.errors import ConfigError, MissingExtraError
from motrail.outputs import WholeFile, writing
from motrail.sagemaker.rehearsal.shelf import Shelf
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from motrail.sagemaker.rehearsal.host import Host
    from motrail.sagemaker.rehearsal.shelf import Record

    Operations = Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]

fcntl: ModuleType | None = None
with contextlib.suppress(ImportError):  # it is not there on Windows
    fcntl = importlib.import_module("fcntl")

ACCOUNT = "123456789012"
_PAGE = 100
_USUAL = "eu-west-1"


class Site:
    """The floor that a rehearsal stands on.

    Args:
        folder: Where everything is kept.
        region: That it plays.
        entry: The command that a container's entry point stands behind; `train`, `serve` or
            `process` follows it.
        environment: Given to each process besides what the request says.
        seed: Of the few things that are left to chance.
        grace: Seconds from SIGTERM to SIGKILL of a job.
        look: Seconds between two looks at a running process.
    """

    def __init__(
        self,
        folder: Path,
        region: str,
        entry: Sequence[str],
        environment: Mapping[str, str],
        *,
        seed: int,
        grace: float,
        look: float,
    ) -> None:
        self.folder = folder
        self.region = region
        self.entry = tuple(entry)
        self.environment = dict(environment)
        self.seed = seed
        self.grace = grace
        self.look = look
        self.lock = threading.RLock()
        self.ending = threading.Event()
        self.hosts: set[Host] = set()
        self._shelves: dict[str, Shelf] = {}
        self._threads: list[threading.Thread] = []

    def shelf(self, kind: str) -> Shelf:
        """The records of a kind."""
        with self.lock:
            if kind not in self._shelves:
                self._shelves[kind] = Shelf(self.folder / "state" / kind, self.lock)
            return self._shelves[kind]

    def arn(self, service: str, resource: str) -> str:
        """An ARN of this account and region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"

    def work(self, *parts: str) -> Path:
        """A fresh folder for a process, which is gone when its work is done."""
        path = self.folder.joinpath("work", *parts, uuid.uuid4().hex[:8])
        path.mkdir(parents=True)
        return path

    def start(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do some work in the background."""
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self.lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
        thread.start()

    def join(self, seconds: float) -> None:
        """Wait for what goes on in the background, each so long at most."""
        with self.lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(seconds)

    def number(self, *parts: object) -> int:
        """A number that looks like chance and follows from the seed and the parts."""
        text = "/".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def locked(path: Path) -> TextIO:
    """A file that only one can hold at a time; closing it, or the process's end, lets it go.

    Raises:
        ConfigError: Another one holds it.
    """
    file = path.open("a", encoding="ascii")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise ConfigError(
                f"{path.parent}: another command rehearses in this folder; wait for its end, or "
                "choose another folder"
            ) from None
    return file


def region_of(folder: Path, wanted: str | None) -> str:
    """The region that a folder's rehearsal plays, which is that of its first command.

    Args:
        folder: Of the rehearsal.
        wanted: What is asked for; None for what there is.

    Raises:
        ConfigError: It is another one, or SageMaker has none of this name.
    """
    kept = folder / "region"
    before = kept.read_text(encoding="ascii", errors="replace").strip() if kept.is_file() else None
    if before is not None:
        if wanted not in (None, before):
            raise ConfigError(
                f"{folder}: expected {before}, the region that is rehearsed in this folder, found "
                f"{wanted}; choose another folder"
            )
        return before
    region = wanted or _USUAL
    known = _regions()
    if region not in known:
        near = difflib.get_close_matches(region, known, 1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"region: expected one that has SageMaker, found {region!r}{advice}")
    with writing(kept), WholeFile(kept) as file:
        file.temporary.write_text(f"{region}\n", encoding="ascii")
    return region


def _regions() -> list[str]:
    try:
        from botocore.session import Session
    except ImportError as error:
        raise MissingExtraError("boto3", "sagemaker", error) from error
    session = Session()
    return [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("sagemaker", partition)
    ]


def refuse(code: str, message: str) -> NoReturn:
    """Answer with an error.

    Raises:
        CloudError: Always.
    """
    raise CloudError(f"{message} ({code})", code=code)


def invalid(message: str) -> NoReturn:
    """Answer as SageMaker does where a request makes no sense.

    Raises:
        CloudError: Always.
    """
    refuse("ValidationException", message)


def chosen(record: Record, keys: Sequence[str]) -> Record:
    """Those members of a record that are there."""
    return {key: record[key] for key in keys if key in record}


def page(
    items: Sequence[Any],
    parameters: Mapping[str, Any],
    key: str,
    *,
    size: str = "MaxResults",
    token: str = "NextToken",  # noqa: S107  (the name of a member)
) -> dict[str, Any]:
    """A page of a list and the token of the next one.

    Args:
        items: The whole list.
        parameters: Of the request.
        key: Of the list in the answer.
        size: Member of the request that says how many at most.
        token: Member of request and answer.
    """
    given = str(parameters.get(token, "0"))
    if not given.isdecimal():
        invalid("The token is not valid.")
    first = int(given)
    last = first + int(parameters.get(size, _PAGE))
    answer: dict[str, Any] = {key: list(items[first:last])}
    if last < len(items):
        answer[token] = str(last)
    return answer


def listing(
    records: Sequence[Record],
    parameters: Mapping[str, Any],
    key: str,
    members: Sequence[str],
    *,
    name: str,
    status: str | None = None,
) -> dict[str, Any]:
    """A page of summaries as SageMaker's List operations give it, sorted and filtered.

    Args:
        records: All there are.
        parameters: Of the request.
        key: Of the list in the answer.
        members: Of a record that go into a summary.
        name: The member that is its name.
        status: The member that is its status.
    """
    kept = [record for record in records if _wanted(record, parameters, name, status)]
    by = {"Name": name, "Status": status or name}.get(str(parameters.get("SortBy")), "CreationTime")
    backwards = parameters.get("SortOrder", "Descending") == "Descending"
    kept.sort(key=lambda record: (record[by], record[name]), reverse=backwards)
    return page([chosen(record, members) for record in kept], parameters, key)


def _wanted(record: Record, parameters: Mapping[str, Any], name: str, status: str | None) -> bool:
    if parameters.get("NameContains", "").lower() not in record[name].lower():
        return False
    if status is not None and parameters.get("StatusEquals", record[status]) != record[status]:
        return False
    created, changed = record["CreationTime"], record.get("LastModifiedTime")
    within = parameters.get("CreationTimeAfter", created) <= created
    within &= created <= parameters.get("CreationTimeBefore", created)
    if changed is not None:
        within &= parameters.get("LastModifiedTimeAfter", changed) <= changed
        within &= changed <= parameters.get("LastModifiedTimeBefore", changed)
    return bool(within)
