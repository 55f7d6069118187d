"""The settings of the server."""

from __future__ import annotations

import math
from dataclasses import dataclass

from motrail.config.sections import setting, within


@dataclass(frozen=True)
class ServeSettings:
    """`[serve]`: what a server takes and keeps."""

    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 for every one of the machine.")
    port: int = setting(8080, "Port to listen on.")
    max_frame_mb: float = setting(32.0, "Largest body with frames, in MiB.")
    max_video_mb: float = setting(1024.0, "Largest body with a video, in MiB.")
    max_pixels: int = setting(40_000_000, "Most pixels of a frame; frames of one request together "
                              "may have eight times as many.")  # fmt: skip
    body_seconds: float = setting(60.0, "Time in which a body with frames has to have arrived; "
                                  "one with a video has ten times as long.")  # fmt: skip
    video_seconds: float = setting(
        3600.0, "Longest time that a request or a job may work on one video."
    )
    queue: int = setting(64, "Frames that may wait for the network before new ones are refused.")
    videos: int = setting(1, "Videos of requests that are worked on at the same time.")
    sessions: int = setting(256, "Sessions that may be open at the same time.")
    session_seconds: float = setting(300.0, "Time without a frame after which a session is closed.")
    jobs_folder: str | None = setting(
        None, "Folder for jobs and their results; without it there are no jobs."
    )
    job_workers: int = setting(1, "Jobs that are worked on at the same time.")
    max_jobs: int = setting(1000, "Jobs that may wait before new ones are refused.")
    job_attempts: int = setting(3, "How often a job is begun whose process dies.")
    job_days: float = setting(7.0, "Days after which an ended job and its result are removed.")
    allow: tuple[str, ...] = setting(
        (), "Folders and http(s) addresses whose videos jobs may name as their source."
    )
    allow_webhooks: tuple[str, ...] = setting(
        (), "Beginnings of http(s) addresses that may be told of ended jobs."
    )
    webhook_attempts: int = setting(8, "How often a webhook that does not answer is tried.")

    def __post_init__(self) -> None:
        within("port", self.port, 0, 65535)
        within("max_frame_mb", self.max_frame_mb, 0.001, 1 << 14)
        within("max_video_mb", self.max_video_mb, 0.001, 1 << 24)
        within("max_pixels", self.max_pixels, 1, 1 << 27)
        within("body_seconds", self.body_seconds, 0.1, 86400)
        within("video_seconds", self.video_seconds, 1, 1e7)
        within("queue", self.queue, 1, 1_000_000)
        within("videos", self.videos, 1, 1024)
        within("sessions", self.sessions, 0, 1_000_000)
        within("session_seconds", self.session_seconds, 0.1, 1e7)
        within("job_workers", self.job_workers, 1, 1024)
        within("max_jobs", self.max_jobs, 1, 10_000_000)
        within("job_attempts", self.job_attempts, 1, 1000)
        within("job_days", self.job_days, 0, 36500)
        within("webhook_attempts", self.webhook_attempts, 1, math.inf)
