"""What stands behind an endpoint: variants, each with its instances and its share of the calls."""

from __future__ import annotations

import random
import tarfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.sagemaker.rehearsal.server import Server
from motrail.sagemaker.rehearsal.site import invalid, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.sagemaker.rehearsal.logs import Logs
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Site
    from motrail.sagemaker.rehearsal.storage import Storage

GROUP = "/aws/sagemaker/Endpoints"
_STARTUP = 600.0


class Seat(NamedTuple):
    """An instance that answers.

    Attributes:
        variant: Name of its variant.
        server: Its container.
    """

    variant: str
    server: Server


class Fleet:
    """The containers of an endpoint.

    Args:
        site: Where they run.
        endpoint: Its name.
        config: Its configuration.
        most: Instances of a variant that are started, however many are asked for.
    """

    def __init__(self, site: Site, endpoint: str, config: Record, most: int) -> None:
        self._site = site
        self._endpoint = endpoint
        self.config = config
        self._most = most
        self._seats: dict[str, list[Server]] = {}
        self._sessions: dict[str, Seat] = {}
        self._chance = random.Random(site.number("endpoint", endpoint))  # noqa: S311
        self._turns = 0
        self.busy = 0
        self.captures = 0
        self.pool: ThreadPoolExecutor | None = None
        asynchronous = config.get("AsyncInferenceConfig")
        if asynchronous is not None:
            self.pool = ThreadPoolExecutor(self._concurrency(asynchronous))

    def _concurrency(self, asynchronous: Record) -> int:
        """Calls at a time of all instances; without a limit SageMaker chooses one."""
        limits = asynchronous.get("ClientConfig", {})
        each = int(limits.get("MaxConcurrentInvocationsPerInstance", 4))
        count = sum(self.count(variant) for variant in self.config["ProductionVariants"])
        return max(1, each * count)

    def count(self, variant: Record) -> int:
        """Instances of a variant that really run here."""
        return max(1, min(int(variant.get("InitialInstanceCount", 1)), self._most))

    def start(self, storage: Storage, logs: Logs, models: Any) -> str:
        """Start all containers side by side and wait for their first sign of life.

        Args:
            storage: Where the models' archives are.
            logs: Where their output goes.
            models: Gives the record of a model.

        Returns:
            Why it failed; empty if all is well.
        """
        waits: list[tuple[Record, Server]] = []
        for variant in self.config["ProductionVariants"]:
            model = models(variant["ModelName"])
            container = model.get("PrimaryContainer") or model["Containers"][0]
            uri = container.get("ModelDataUrl")
            found = None if uri is None else storage.find(uri)
            if uri is not None and found is None:
                return _trouble("download", uri)
            archive = None if found is None else found.path
            environment = container.get("Environment", {})
            for index in range(self.count(variant)):
                write = self._log(logs, variant["VariantName"], index)
                root = self._site.work("endpoints", self._endpoint)
                try:
                    server = Server(self._site, root, archive, environment, write)
                except (tarfile.TarError, EOFError, zlib.error):
                    return _trouble("extract", uri)
                self._seats.setdefault(variant["VariantName"], []).append(server)
                waits.append((variant, server))
        for variant, server in waits:
            seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _STARTUP)
            if not server.wait(seconds, self._site.ending):
                return (
                    f"The primary container for production variant {variant['VariantName']} did "
                    "not pass the ping health check. Please check CloudWatch logs for this "
                    "endpoint."
                )
        return ""

    def _log(self, logs: Logs, variant: str, index: int) -> Callable[[str], None]:
        number = self._site.number(self._endpoint, variant, index, time.time_ns())
        stream = f"{variant}/i-{number & 0xFFFFFFFFFFFFFFF:017x}"
        return logs.writer(f"{GROUP}/{self._endpoint}", stream)

    def seat(self, target: str | None, session: str | None, weights: dict[str, float]) -> Seat:
        """Who answers a call: the one that has the session, else one by weight, in turns.

        Raises:
            CloudError: There is no such variant.
        """
        with self._site.lock:
            if session is not None and session in self._sessions:
                return self._sessions[session]
            if target is not None and target not in self._seats:
                refuse("ValidationError", f"Variant {target} was not found for the endpoint.")
            if target is None:
                names = list(self._seats)
                shares = [weights.get(name, 1.0) for name in names]
                if not sum(shares):
                    invalid("All variants of the endpoint have a weight of 0.")
                target = self._chance.choices(names, shares)[0]
            servers = self._seats[target]
            self._turns += 1
            return Seat(target, servers[self._turns % len(servers)])

    def keep_session(self, session: str, seat: Seat) -> None:
        """Have later calls of a session come to the same instance."""
        with self._site.lock:
            self._sessions[session] = seat

    def close_session(self, session: str) -> None:
        """Forget a session."""
        with self._site.lock:
            self._sessions.pop(session, None)

    def end(self) -> None:
        """End all containers."""
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
        threads = [
            threading.Thread(target=server.end)
            for servers in self._seats.values()
            for server in servers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _trouble(what: str, uri: str) -> str:
    """Why a model's archive is not there for the container."""
    if what == "download":
        return (
            f'Failed to download model data for container "container_1" from URL "{uri}". Please '
            "ensure that there is an object located at the URL and that the role passed to "
            "CreateModel has permissions to download the model."
        )
    return (
        f'Failed to extract model data archive for container "container_1" from URL "{uri}". '
        "Please ensure that the object located at the URL is a valid tar.gz archive."
    )
