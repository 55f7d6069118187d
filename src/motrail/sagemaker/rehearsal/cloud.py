"""The rehearsal as a whole: checks a request, keeps it in mind, and has it done."""

from __future__ import annotations

import atexit
import copy
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from motrail.errors import ConfigError
from motrail.outputs import WholeFile, output_folder, writing
from motrail.sagemaker.rehearsal.asynchronous import Asynchronous
from motrail.sagemaker.rehearsal.bucket import S3
from motrail.sagemaker.rehearsal.desk import Desk, Images, Tags
from motrail.sagemaker.rehearsal.endpoints import Endpoints
from motrail.sagemaker.rehearsal.faults import Faults, Interruption
from motrail.sagemaker.rehearsal.labeling import LabelingJobs
from motrail.sagemaker.rehearsal.logs import Logs
from motrail.sagemaker.rehearsal.processing import ProcessingJobs
from motrail.sagemaker.rehearsal.runtime import SECONDS, Runtime
from motrail.sagemaker.rehearsal.scaling import Alarms, Scaling
from motrail.sagemaker.rehearsal.site import Site, locked, refuse, region_of
from motrail.sagemaker.rehearsal.stack import Stacks
from motrail.sagemaker.rehearsal.storage import Storage
from motrail.sagemaker.rehearsal.topics import Topics
from motrail.sagemaker.rehearsal.training import TrainingJobs
from motrail.sagemaker.rehearsal.tuning import TuningJobs
from motrail.sagemaker.request import Request, split_uri
from motrail.sagemaker.rules import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.formats.labels import Labels
    from motrail.sagemaker.rehearsal.site import Operations
    from motrail.sagemaker.request import ObjectInfo

ENTRY = (sys.executable, "-m", "motrail.sagemaker.container")
_TOKENS = (
    ("NextToken", "NextToken"),
    ("nextToken", "nextToken"),
    ("NextContinuationToken", "ContinuationToken"),
    ("NextMarker", "Marker"),
)
_LONGEST_SLEEP = 0.1
_PATIENCE = 5.0


class Rehearsal:
    """A cloud on this machine.

    S3 is a folder, jobs and endpoints are processes that run what is in our images, in the folders
    that SageMaker would give them. What was made stays in `folder`, so that the next command finds
    it; what runs ends with `close`. Use it in a `with` block.

    Args:
        folder: Where everything is kept; made if need be.
        region: The region that is played; that of before if None, or eu-west-1 in a new folder.
        entry: The command behind a container's entry points.
        environment: Given to each process besides what the request says.
        seed: Of the few things that are left to chance.
        grace: Seconds from SIGTERM to SIGKILL of a job.
        invocation_seconds: A container has to answer a real-time call.
        most_instances: Instances of an endpoint's variant that are started, however many are asked
            for.

    Attributes:
        calls: All requests, in the order they came, with the length of bodies in place of them.

    Raises:
        ConfigError: Another rehearsal is under way in this folder, or it is one of another region;
            or SageMaker has no such region.
        FormatError: A file that keeps what was made is damaged.
        OutputError: The folder cannot be written to.
    """

    rehearsal = True

    def __init__(
        self,
        folder: Path,
        *,
        region: str | None = None,
        entry: Sequence[str] = ENTRY,
        environment: Mapping[str, str] | None = None,
        seed: int = 0,
        grace: float = 120.0,
        invocation_seconds: float = SECONDS,
        most_instances: int = 2,
    ) -> None:
        self.folder = output_folder(folder).resolve()
        self._lock = locked(self.folder / "lock")
        self.calls: list[Request] = []
        try:
            self.region = region_of(self.folder, region)
            site = Site(
                self.folder,
                self.region,
                entry,
                environment or {},
                seed=seed,
                grace=grace,
                look=0.05,
            )
            self._open(site, invocation_seconds, most_instances)
        except BaseException:
            self._lock.close()
            raise
        atexit.register(self.close)

    def _open(self, site: Site, invocation_seconds: float, most_instances: int) -> None:
        self._site = site
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        self.faults = Faults(site)
        self.storage = Storage(site)
        self._tags = Tags(site)
        self._logs = Logs(site)
        self._topics = Topics(site, self._tags)
        shared = (site, self.storage, self._logs, self.faults, self._tags)
        self._training = TrainingJobs(*shared)
        self._labeling = LabelingJobs(site, self.storage, self._tags)
        self._endpoints = Endpoints(*shared, most_instances)
        self._operations = self._services(shared, invocation_seconds)

    def _services(self, shared: Any, seconds: float) -> dict[str, Operations]:
        site, storage = self._site, self.storage
        desk, images = Desk(site, self.faults), Images(site)
        alarms = Alarms(site, self._tags)
        runtime = Runtime(site, self._endpoints, storage, seconds)
        later = Asynchronous(site, runtime, storage, self._topics)
        stacks = Stacks(site, storage, self._topics, images, desk)
        sagemaker: dict[str, Any] = {}
        for part in (
            self._training,
            TuningJobs(site, self._training, self._tags),
            ProcessingJobs(*shared),
            self._labeling,
            self._endpoints,
            self._tags,
        ):
            sagemaker |= part.operations()
        return {
            "sagemaker": sagemaker,
            "sagemaker-runtime": {**runtime.operations(), **later.operations()},
            "s3": S3(site, storage).operations(),
            "sns": self._topics.operations(),
            "logs": self._logs.operations(),
            "cloudformation": stacks.operations(),
            "application-autoscaling": Scaling(site, alarms, self._tags).operations(),
            "cloudwatch": alarms.operations(),
            "ecr": images.operations(),
            "sts": desk.identity(),
            "iam": desk.iam(),
            "service-quotas": desk.quotas(),
            "pricing": desk.pricing(),
        }

    def call(self, request: Request) -> dict[str, Any]:
        """Check a request and do what it says; the answer is as boto3 gives it.

        Raises:
            ConfigError: The request breaks a rule; nothing was done.
            CloudError: AWS would refuse it, or that was planted, or there is no rehearsal of it.
        """
        check(request)
        self.calls.append(_without_bodies(request))
        operation = self._operations.get(request.service, {}).get(request.operation)
        if operation is None:
            refuse(
                "NotRehearsed",
                f"{request.service} {request.operation}: a rehearsal does not know this operation",
            )
        self.faults.check(request.operation)
        return operation(_own(request.parameters))

    def pages(self, request: Request, key: str) -> Iterator[Any]:
        """The items of the list `key` in the answer, and in those of all further pages.

        Raises:
            ConfigError: The request breaks a rule; nothing was done.
            CloudError: AWS would refuse it.
        """
        parameters = dict(request.parameters)
        while True:
            answer = self.call(request._replace(parameters=parameters))
            yield from answer.get(key, ())
            for given, asked in _TOKENS:
                if given in answer:
                    parameters = {**parameters, asked: answer[given]}
                    break
            else:
                return

    def upload(self, path: Path, uri: str, *, tell: Callable[[int], None] | None = None) -> None:
        """Copy a file to `s3://bucket/key`.

        Raises:
            ConfigError: The URI is none, or there is no such file.
            CloudError: There is no such bucket.
        """
        bucket, key = split_uri(uri)
        if not path.is_file():
            raise ConfigError(f"{path}: expected a file to upload, found none")
        self._note("PutObject", bucket, key)
        self.storage.put(uri, path, tell=tell)

    def download(self, uri: str, path: Path, *, tell: Callable[[int], None] | None = None) -> None:
        """Copy an object to a file, which appears whole or not at all.

        Raises:
            ConfigError: The URI is none.
            CloudError: There is no such object.
            OutputError: The file cannot be written.
        """
        bucket, key = split_uri(uri)
        self._note("GetObject", bucket, key)
        stored = self.storage.get(uri)
        with writing(path), WholeFile(path) as whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stored.path, whole.temporary)
        if tell is not None:
            tell(stored.size)

    def objects(self, uri: str) -> Iterator[ObjectInfo]:
        """Everything whose key begins as `s3://bucket/prefix` says, in the order of keys.

        Raises:
            ConfigError: The URI is none.
            CloudError: There is no such bucket.
        """
        bucket, prefix = split_uri(uri)
        request = Request("s3", "ListObjectsV2", {"Bucket": bucket, "Prefix": prefix})
        check(request)
        self.calls.append(request)
        self.faults.check("ListObjectsV2")
        for stored in self.storage.under(uri):
            yield self.storage.info(bucket, stored)

    def sleep(self, seconds: float) -> None:
        """Wait, but not as long."""
        time.sleep(min(seconds, _LONGEST_SLEEP))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was published to SNS: `TopicArn`, `Message` (JSON text) and so on."""
        return copy.deepcopy(self._topics.messages)

    def fail_next(self, operation: str, code: str, message: str) -> None:
        """Have the next call of an operation, such as `CreateEndpoint`, refused."""
        self.faults.fail_next(operation, code, message)

    def interrupt_training(self, after_epochs: int = 1, job: str | None = None) -> None:
        """Take the instance of a spot training job away, once.

        Args:
            after_epochs: As soon as its log tells of this epoch, counted from 1.
            job: Its name; else the next that starts.
        """
        self.faults.interrupt(Interruption(after_epochs, job))

    def answer_labeling(self, job: str, labels: Iterable[Labels]) -> None:
        """Let the workers of a labelling job be done.

        Args:
            job: Its name.
            labels: What they drew; a sequence has the name of its sequence file, without `.json`.

        Raises:
            CloudError: There is no such job, or it is over.
            DataError: A sequence of the job has no labels here.
        """
        self._labeling.answer(job, labels)

    def close(self) -> None:
        """End everything that runs. Jobs under way have failed; endpoints start again."""
        atexit.unregister(self.close)
        with self._site.lock:
            self._site.ending.set()
            hosts = list(self._site.hosts)
        for host in hosts:
            host.kill()
        self._endpoints.close()
        for host in hosts:
            host.end(grace=0.0)
        self._site.join(_PATIENCE)
        if not self._lock.closed:
            shutil.rmtree(self.folder / "work", ignore_errors=True)
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, operation: str, bucket: str, key: str) -> None:
        parameters = {"Bucket": bucket, "Key": key}
        request = Request("s3", operation, parameters)
        check(request)
        self.calls.append(request)
        self.faults.check(operation)


def _without_bodies(request: Request) -> Request:
    parameters = {
        key: f"<{len(value)} bytes>" if isinstance(value, bytes | bytearray) else value
        for key, value in request.parameters.items()
    }
    return request._replace(parameters=copy.deepcopy(parameters))


def _own(parameters: dict[str, Any]) -> dict[str, Any]:
    """A copy, so that nobody's records change with the caller's."""
    return {
        key: value if key == "Body" else copy.deepcopy(value) for key, value in parameters.items()
    }
