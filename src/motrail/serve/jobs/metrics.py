"""What is counted about jobs, for Prometheus."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.serve.jobs.store import Store

_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 14400, 86400)


class JobMetrics:
    """The counters of jobs.

    Args:
        store: Knows how many there are in each state.
        registry: Where they are added; a new one if None.
    """

    def __init__(self, store: Store, registry: CollectorRegistry | None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self.attempts = Counter(
            "motrail_job_attempts", "How often jobs were begun.", registry=registry
        )
        self.seconds = Histogram(
            "motrail_job_seconds",
            "Time from a job's first beginning to its end.",
            ["state"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.webhooks = Counter(
            "motrail_webhooks", "Attempts to tell of ended jobs.", ["outcome"], registry=registry
        )
        registry.register(_States(store))

    def ended(self, state: str, seconds: float) -> None:
        """A job is done or failed."""
        self.seconds.labels(state).observe(max(seconds, 0.0))


class _States(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count the jobs when somebody asks."""
        family = GaugeMetricFamily("motrail_jobs", "Jobs by state.", labels=["state"])
        try:
            for state, count in self._store.counts().items():
                family.add_metric([state], count)
        except sqlite3.Error:  # closed, or the disk is full: the other figures are still wanted
            return
        yield family
