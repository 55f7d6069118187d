"""`motrail serve`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import ipaddress
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.progress import download_progress
from motrail.cli.settings import flags_of, resolve_settings
from motrail.errors import MissingExtraError

if TYPE_CHECKING:
    from motrail.config import Preset, Settings
    from motrail.detect.bundle import Bundle
    from motrail.detect.detector import Detector
    from motrail.serve.app import JobRoutes
    from motrail.serve.logs import Log
    from motrail.serve.metrics import Metrics
    from motrail.serve.service import ModelInfo

DetectorFlags: Any = flags_of("detector")
TrackerFlags: Any = flags_of("tracker")
ServeFlags: Any = flags_of("serve")

_VERSION = 12  # hex digits of the network's SHA-256
EXTRAS = ("detect", "video", "serve")


def serve_command(
    model: str,
    *,
    token_file: Path | None = None,
    guarded: Annotated[bool, Parameter(negative="")] = False,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    detector: DetectorFlags = None,
    tracker: TrackerFlags = None,
    serve: ServeFlags = None,
) -> int:
    """Answer requests for detections and tracks over HTTP.

    Frames and videos go to POST /invocations, long videos to POST /jobs (with --jobs-folder);
    GET /openapi.json describes all of it. The same server runs in a SageMaker container. A line
    with the address is printed when it is ready; the log goes to stderr, a line of JSON each.
    Ctrl-C or SIGTERM: requests under way are finished, no new ones are taken.

    For example:

    - `motrail serve yolox-s`
    - `motrail serve model.tar.gz --host 0.0.0.0 --port 80 --token-file token.txt`
    - `motrail serve yolox-s --jobs-folder jobs --allow /data/videos`

    Parameters
    ----------
    model
        A model bundle, an .onnx file together with --preset, or a name such as yolox-s.
    token_file
        File with a token that requests must carry (Authorization: Bearer TOKEN); without it that
        of the environment variable MOTRAIL_SERVE_TOKEN, or none.
    guarded
        Something in front of the server lets in only who may use it, as SageMaker does with its
        containers: no warning where there is no token.
    config
        TOML file with sections [detector], [tracker], [refine], [video] and [serve]; flags win
        over it.
    """
    flags = {"detector": detector, "tracker": tracker, "serve": serve}
    try:
        return _serve(model, token_file, config, flags, guarded=guarded)
    except MissingExtraError as error:
        if error.extra in EXTRAS:  # who lacks one of them should not be told of the others later
            raise MissingExtraError(error.package, ",".join(EXTRAS), error.cause) from error
        raise


def _serve(
    model: str,
    token_file: Path | None,
    config: Path | None,
    flags: dict[str, Any],
    *,
    guarded: bool,
) -> int:
    from motrail.detect.detector import find_bundle, open_detector

    _import_all()
    from motrail.serve import run
    from motrail.serve.app import make_app
    from motrail.serve.logs import Log
    from motrail.serve.metrics import Metrics
    from motrail.serve.security import find_token

    # What is quick to check comes first: settings and the port before a download.
    token = find_token(token_file)
    wanted = resolve_settings(flags, config).settings.serve
    with run.open_socket(wanted.host, wanted.port) as listener:
        with download_progress(model) as download:
            bundle, preset = find_bundle(model, progress=download)
        settings = resolve_settings(flags, config, bundle).settings
        network = open_detector(bundle, settings.detector, preset)
        info = _model_info(model, bundle, network)
        log, metrics = Log(), Metrics()
        jobs = _jobs(bundle, preset, settings, log, metrics)
        app = make_app(network, settings, info, token=token, jobs=jobs, log=log, metrics=metrics)
        if token is None and not guarded and not _is_loopback(wanted.host):
            print(
                f"warning: everybody who reaches {wanted.host} may use this server; give it a "
                "--token-file, or --host 127.0.0.1",
                file=sys.stderr,
            )
        address = run.address_of(listener)

        def ready() -> None:
            print(f"serving {info.name} ({network.device}) at {address}", flush=True)

        run.run(app, listener, ready=ready)
    return 0


def _import_all() -> None:
    """Load what the server needs in the main thread, before any other runs."""
    for package in ("starlette", "uvicorn", "prometheus_client", "python_multipart"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(package, "serve", error) from error
    # What Pillow thinks of strange pictures is no line for the log.
    warnings.filterwarnings("ignore", module="PIL")
    for module in ("motrail.video.write", "motrail.video.draw"):
        importlib.import_module(module)
    with contextlib.suppress(ImportError):  # said when somebody asks for a video with boxes
        importlib.import_module("supervision")


def _jobs(
    bundle: Bundle, preset: Preset | None, settings: Settings, log: Log, metrics: Metrics
) -> JobRoutes | None:
    if settings.serve.jobs_folder is None:
        return None
    from motrail.serve.jobs import Jobs

    return Jobs(bundle, preset, settings, settings.serve, log=log, registry=metrics.registry)


def _model_info(model: str, bundle: Bundle, network: Detector) -> ModelInfo:
    from motrail.serve.service import ModelInfo

    digest = hashlib.sha256()
    if isinstance(bundle.onnx, bytes):
        digest.update(bundle.onnx)
    else:
        with bundle.onnx.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    name = Path(model).resolve().name.removesuffix(".tar.gz").removesuffix(".onnx")
    width, height = network.input_size
    return ModelInfo(name, digest.hexdigest()[:_VERSION], width, height)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
