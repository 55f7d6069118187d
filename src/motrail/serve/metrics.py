"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)


class Metrics:
    """The counters of one server.

    Attributes:
        registry: Where others may add their own.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "motrail_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "motrail_request_seconds",
            "Time from a request's first byte to the answer's last.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.frames = Counter(
            "motrail_frames", "Frames that went through the network.", registry=self.registry
        )
        self.sessions = Gauge("motrail_sessions_open", "Open sessions.", registry=self.registry)
        self.queue = Gauge(
            "motrail_queue_length",
            "Frames of requests that wait for the network.",
            registry=self.registry,
        )
        self.videos = Gauge(
            "motrail_videos_open", "Videos of requests being worked on.", registry=self.registry
        )

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)
