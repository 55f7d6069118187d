"""What a training job leaves in S3, brought home: the model bundle and the rest of the run."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from motrail.detect.bundle import read_bundle
from motrail.errors import FormatError
from motrail.outputs import WholeFolder, writing
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.transfer import safe_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.sagemaker.request import Cloud

_MAX_EXTRACTED = 4 << 30
_MAX_MEMBERS = 10_000


@dataclass(frozen=True)
class Trained:
    """What came of a training job.

    Attributes:
        job: Its name.
        bundle: The model bundle here; None where nobody waited.
        files: What else the run left, in the folder of the bundle.
        metrics: The last value of each metric.
        seconds: How long it trained.
        billed_seconds: How long was paid for; less with spot instances.
        instance: The type it ran on.
        stopped: Why it is not done, where the bundle is the best so far.
    """

    job: str
    bundle: str | None = None
    files: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: int = 0
    billed_seconds: int = 0
    instance: str | None = None
    stopped: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def collect(cloud: Cloud, answer: Mapping[str, Any], output: Path) -> Trained:
    """Bring home what a training job made; the folder appears whole or not at all.

    Args:
        cloud: Where it is.
        answer: The description of the job.
        output: The folder to make; it gets `model.tar.gz`, and what else the run left.

    Raises:
        ModelError: The artifact is no model bundle.
        FormatError: The other output is no archive, or hostile.
        CloudError: It is not there.
        OutputError: The folder holds something already, or cannot be written.
    """
    artifact = answer["ModelArtifacts"]["S3ModelArtifacts"]
    others = f"{artifact.rpartition('/')[0]}/output.tar.gz"
    with WholeFolder(output) as whole, tempfile.TemporaryDirectory() as work:
        bundle = whole.temporary / "model.tar.gz"
        _download_model(cloud, artifact, bundle)
        read_bundle(bundle)
        archive = Path(work) / "output.tar.gz"
        files: list[str] = []
        if any(True for _ in cloud.objects(others)):
            cloud.download(others, archive)
            files = _extract(archive, whole.temporary, others)
    metrics = {one["MetricName"]: one["Value"] for one in answer.get("FinalMetricDataList", ())}
    resources = answer.get("ResourceConfig", {})
    return Trained(
        answer["TrainingJobName"],
        str(output / "model.tar.gz"),
        tuple(files),
        metrics,
        answer.get("TrainingTimeInSeconds", 0),
        answer.get("BillableTimeInSeconds", 0),
        resources.get("SelectedInstanceType") or resources.get("InstanceType"),
    )


def _download_model(cloud: Cloud, artifact: str, path: Path) -> None:
    try:
        cloud.download(artifact, path)
    except CloudError as error:
        if error.code != "NoSuchKey":
            raise
        raise CloudError(
            f"{artifact}: expected the model that the job made, found none; was it removed?",
            code=error.code,
        ) from error


def has_artifact(cloud: Cloud, answer: Mapping[str, Any]) -> bool:
    """Whether a job that was stopped has left a model all the same."""
    artifact = answer.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    return artifact is not None and any(item.uri == artifact for item in cloud.objects(artifact))


def see_that_it_is_free(output: Path) -> None:
    """See that a result can go into a folder, before hours are spent on it.

    Raises:
        OutputError: It holds something already, or cannot be made.
    """
    WholeFolder(output).discard()


def _extract(archive: Path, folder: Path, uri: str) -> list[str]:
    """The plain files of an archive, none of which may leave the folder."""
    names: list[str] = []
    left = _MAX_EXTRACTED
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if not member.isreg():
                    continue
                place = safe_key(member.name.removeprefix("./"), uri)
                left -= member.size
                if left < 0 or len(names) >= _MAX_MEMBERS:
                    raise FormatError(uri, "expected at most 4 GiB in 10,000 files, found more")
                stream = tar.extractfile(member)
                if stream is None or str(place) == "model.tar.gz":
                    continue
                target = folder / place
                _save(stream, target)
                names.append(str(place))
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, zlib.error) as error:
        raise FormatError(uri, f"expected a tar archive: {error}") from error
    return sorted(names)


def _save(stream: IO[bytes], target: Path) -> None:
    """Write a member of an archive, which may be too large for memory."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            try:
                shutil.copyfileobj(stream, file)
            except gzip.BadGzipFile as error:  # an OSError, and no trouble of the disk's
                raise tarfile.ReadError(str(error)) from error
