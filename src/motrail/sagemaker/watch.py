"""Wait for a job at SageMaker: its log and its steps as they come, and what Ctrl-C does."""

from __future__ import annotations

import contextlib
import math
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from motrail.errors import MotrailError, OutputError
from motrail.sagemaker.redact import redact
from motrail.sagemaker.request import CloudError, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from motrail.sagemaker.request import Cloud

Choice = Literal["stop", "leave", "wait"]
"""What is to happen to a job when Ctrl-C came."""

TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
"""The log group of training jobs and trials; its streams begin with the job's name."""
OVER = frozenset({"Completed", "Failed", "Stopped", "Deleting", "DeleteFailed"})
_NO_SUCH_JOB = ("ValidationException", "ResourceNotFound")
_EPOCH = re.compile(r"motrail: epoch=([0-9]+) ")
_TIMES_UP = {
    "MaxRuntimeExceeded": "its time was up; give it more with --max-hours",
    "MaxWaitTimeExceeded": (
        "there were no spare instances in time; wait longer with --max-wait-hours, or take others "
        "with --no-spot"
    ),
}
"""What the last step of a stopped job means."""
LAST_LINES = 20
"""Lines of the log that are shown of a job that is over already."""
_LATE = 5.0
"""Seconds that the last lines of a log may need to arrive."""


class JobError(MotrailError):
    """A job at SageMaker failed, or was stopped before it had a result."""


class LeftError(MotrailError):
    """Nobody waits for a job any more: it was left running, or told to stop."""

    exit_code = 130


class Watcher(NamedTuple):
    """Who waits.

    Attributes:
        say: Told of each line of the log and each step of the job.
        ask: Asked, after Ctrl-C, what is to happen to the job of this name.
        step: Told of each look at the job, and what the answer was.
        every: Seconds from one look to the next.
    """

    say: Callable[[str], None]
    ask: Callable[[str], Choice]
    step: Callable[[Mapping[str, Any]], None] = lambda _answer: None
    every: float = 15.0


class JobLog:
    """The lines of a job's log, each once, from all of its instances.

    Args:
        cloud: Where the log is.
        group: The log group.
        prefix: Of the names of the streams, such as the job's name and a slash.
    """

    def __init__(self, cloud: Cloud, group: str, prefix: str) -> None:
        self._cloud = cloud
        self._group = group
        self._prefix = prefix
        self._next: dict[str, str] = {}
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def new_lines(self) -> Iterator[str]:
        """What has come since the last time; with several instances, each line says which."""
        streams = list(self._streams())
        for name in streams:
            host = name.removeprefix(self._prefix).rpartition("-")[0]
            mark = f"[{host}] " if len(_hosts(streams, self._prefix)) > 1 else ""
            for line in self._lines(name):
                self.last.append(f"{mark}{line}")
                yield self.last[-1]

    def _streams(self) -> Iterator[str]:
        request = Request(
            "logs",
            "DescribeLogStreams",
            {"logGroupName": self._group, "logStreamNamePrefix": self._prefix},
        )
        with _nothing_yet():
            for stream in self._cloud.pages(request, "logStreams"):
                yield stream["logStreamName"]

    def _lines(self, stream: str) -> Iterator[str]:
        while True:
            parameters = {
                "logGroupName": self._group,
                "logStreamName": stream,
                "startFromHead": True,
            }
            if stream in self._next:
                parameters["nextToken"] = self._next[stream]
            answer: dict[str, Any] = {}
            with _nothing_yet():
                answer = self._cloud.call(Request("logs", "GetLogEvents", parameters))
            for event in answer.get("events", ()):
                yield redact(event["message"].rstrip("\n"))
            token = answer.get("nextForwardToken")
            # The service hands the same token back when it has come to the end.
            if token is None or token == self._next.get(stream):
                return
            self._next[stream] = token


def _hosts(streams: Iterable[str], prefix: str) -> set[str]:
    return {name.removeprefix(prefix).rpartition("-")[0] for name in streams}


@contextlib.contextmanager
def _nothing_yet() -> Iterator[None]:
    """A group or stream that is not there yet is an empty one."""
    try:
        yield
    except CloudError as error:
        if error.code not in ("ResourceNotFoundException", "ResourceNotFound"):
            raise


class Task(NamedTuple):
    """A job to wait for.

    Attributes:
        name: Of the job.
        look: Asks how it is doing.
        status: The field of the answer with the job's status.
        stop: Has it stopped.
        again: The command that goes on waiting for it.
    """

    name: str
    look: Request
    status: str
    stop: Request
    again: str


def wait_for(
    cloud: Cloud,
    task: Task,
    watcher: Watcher,
    *,
    create: Request | None = None,
    log: JobLog | None = None,
) -> dict[str, Any]:
    """Wait until a job is over; when Ctrl-C comes, ask what is to become of it.

    Args:
        cloud: Where it runs.
        task: The job.
        watcher: Told of its log and steps.
        create: Makes the job first. A Ctrl-C in the midst of that is asked about, too.
        log: Its log, where it has one of its own.

    Returns:
        How it ended: the last answer to `task.look`.

    Raises:
        LeftError: The job was told to stop, or left running.
        JobError: There is no such job.
        CloudError: AWS refuses to tell.
    """
    made = create is None
    follower = _Follower(cloud, task, watcher, log)
    while True:
        try:
            if create is not None and not made:
                _make(cloud, create)
                made = True
                watcher.say(f"job {task.name}")
            return follower.run()
        except KeyboardInterrupt:
            choice = watcher.ask(task.name)
        except CloudError:
            if made:  # the network is gone, say: what is being paid for is not lost sight of
                watcher.say(_left(cloud, task))
            raise
        if choice == "stop":
            raise LeftError(_stop(cloud, task))
        if choice == "leave":
            raise LeftError(_left(cloud, task))


def start(cloud: Cloud, task: Task, watcher: Watcher, create: Request) -> None:
    """Make a job that nobody is going to wait for.

    Raises:
        CloudError: AWS refused.
    """
    try:
        cloud.call(create)
    except KeyboardInterrupt:
        watcher.say(f"job {task.name} may have been made; {task.again} tells")
        raise


@contextlib.contextmanager
def bringing(task: Task, watcher: Watcher) -> Iterator[None]:
    """Say how to go on where what a job made is not brought here: the disk is full, say."""
    try:
        yield
    except (KeyboardInterrupt, OutputError):
        watcher.say(
            f"what job {task.name} made stays in S3; {task.again} brings it here, with -o to "
            "another folder"
        )
        raise


def look(cloud: Cloud, task: Task) -> dict[str, Any]:
    """How a job is doing.

    Raises:
        JobError: There is no such job.
        CloudError: AWS refuses to tell.
    """
    try:
        return cloud.call(task.look)
    except CloudError as error:
        if error.code in _NO_SUCH_JOB:
            raise JobError(
                f"there is no job {task.name!r} in {cloud.region}; expected the name that was "
                "shown when it was made"
            ) from error
        raise


def _make(cloud: Cloud, create: Request) -> None:
    try:
        cloud.call(create)
    except CloudError as error:
        if error.code != "ResourceInUse":  # made already, when Ctrl-C came in the midst of it
            raise


def _left(cloud: Cloud, task: Task) -> str:
    if cloud.rehearsal:
        return f"job {task.name} is left; what ran of it ends with this command"
    return f"job {task.name} goes on, and costs what it costs; {task.again} waits for it again"


def _stop(cloud: Cloud, task: Task) -> str:
    try:
        cloud.call(task.stop)
    except CloudError as error:
        return f"job {task.name} cannot be stopped, as it is over or was never made: {error}"
    return f"job {task.name} is told to stop"


class _Follower:
    """Follows a job; when it is begun again after Ctrl-C, nothing is told twice."""

    def __init__(self, cloud: Cloud, task: Task, watcher: Watcher, log: JobLog | None) -> None:
        self._cloud = cloud
        self._task = task
        self._watcher = watcher
        self._log = log
        self._told = 0
        self._first = True

    def run(self) -> dict[str, Any]:
        """Look until the job is over; the last answer."""
        while True:
            answer = look(self._cloud, self._task)
            over = answer[self._task.status] in OVER
            self._tell_steps(answer)
            self._tell_log(all_of_it=not (self._first and over))
            self._watcher.step(answer)
            if over:
                break
            self._first = False
            self._cloud.sleep(self._watcher.every)
        if self._log is not None and not self._first:
            self._cloud.sleep(_LATE)
            self._tell_log(all_of_it=True)
        return answer

    def _tell_steps(self, answer: Mapping[str, Any]) -> None:
        steps = answer.get("SecondaryStatusTransitions", ())
        for step in steps[self._told :]:
            message = redact(step.get("StatusMessage") or "")
            self._watcher.say(f"— {step['Status']}{': ' if message else ''}{message}")
        self._told = len(steps)

    def _tell_log(self, *, all_of_it: bool) -> None:
        """Tell the lines that are new, or only the last of them."""
        if self._log is None:
            return
        for line in self._log.new_lines():
            if all_of_it:
                self._watcher.say(line)
        if not all_of_it:
            for line in self._log.last:
                self._watcher.say(line)


def failed(answer: Mapping[str, Any], task: Task) -> JobError:
    """The error for a job that ended without a result."""
    return JobError(why(answer, task))


def why(answer: Mapping[str, Any], task: Task) -> str:
    """Why a job is not completed, in a sentence."""
    reason = redact(answer.get("FailureReason") or "").strip()
    if not reason and answer.get("SecondaryStatus") in _TIMES_UP:
        reason = _TIMES_UP[answer["SecondaryStatus"]]
    how = "failed" if answer[task.status] == "Failed" else "was stopped"
    return f"job {task.name} {how}{': ' if reason else ''}{reason}"


class Epochs:
    """Says after each epoch, by the log's lines, how much longer training will take.

    Args:
        say: Told.
        total: How many epochs there will be; may be set later.
        clock: Seconds, from anywhere.
    """

    def __init__(self, say: Callable[[str], None], total: int, clock: Callable[[], float]) -> None:
        self._say = say
        self.total = total
        self._clock = clock
        self._last: tuple[int, float] | None = None

    def hear(self, line: str) -> None:
        """Take a line of the log into account; an epoch that was heard of says nothing new."""
        found = _EPOCH.search(line)
        if found is None or (self._last is not None and int(found[1]) <= self._last[0]):
            return
        epoch, now = int(found[1]), self._clock()
        left = ""
        if self._last is not None:
            pace = (now - self._last[1]) / (epoch - self._last[0])
            left = f", about {math.ceil(pace * (self.total - epoch) / 60)} min left"
        self._last = (epoch, now)
        self._say(f"— epoch {epoch} of {self.total}{left if epoch < self.total else ''}")
