"""Which changes of settings could mend a cause: the values that are tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.config import TrackerSettings
    from motrail.evaluate.events import Cause
    from motrail.evaluate.why.causes import Explained

# Gaps longer than this many frames, or seconds, are not waited for.
_LONGEST_WAIT = 600
_LONGEST_WAIT_SECONDS = 20.0
_LONGEST_FILL = 30


class Change(NamedTuple):
    """A setting and what to make of it.

    Attributes:
        section: `tracker` or `refine`.
        setting: Its name.
        now: The value that was used.
        advised: The value that was tried.
    """

    section: str
    setting: str
    now: float | str | None
    advised: float | str | None

    def __str__(self) -> str:
        return f"[{self.section}] {self.setting} {self.now} → {self.advised}"


class Trial(NamedTuple):
    """What is to be tried, and the cause it is to mend."""

    cause: Cause | None
    changes: tuple[Change, ...]
    text: str


def candidates(
    explained: Sequence[Explained], settings: TrackerSettings, rates: Mapping[str, float]
) -> Iterator[Trial]:
    """First one value for each cause, the most frequent causes first; then second ones."""
    by_cause: dict[Cause | None, list[Explained]] = {}
    for item in explained:
        by_cause.setdefault(item.event.cause, []).append(item)
    causes = sorted(by_cause, key=lambda cause: -len(by_cause[cause]))
    values = [
        list(_REMEDIES[cause](by_cause[cause], settings, rates))
        for cause in causes
        if cause in _REMEDIES
    ]
    fill = _fill_gaps(explained)
    if fill is not None:
        values.insert(1, [fill])
    for turn in range(max(map(len, values), default=0)):
        yield from (trials[turn] for trials in values if len(trials) > turn)


def _lower_low(
    found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    scores = _scores(found)
    for share in (0.5, 0.9):
        value = _below(scores, share, strictly=True)
        if value < settings.low_threshold:
            text = f"let detections above {value} continue tracks"
            yield _trial("low score", settings, text, low_threshold=value)


def _lower_start(
    found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    scores = _scores(found)
    for share in (0.5, 0.2, 0.8):
        new = min(_below(scores, share), settings.new_track_threshold)
        high = max(min(new, settings.high_threshold), settings.low_threshold)
        text = f"let detections from {new} on begin tracks"
        if new < settings.new_track_threshold or high < settings.high_threshold:
            yield _trial("weak start", settings, text, new_track_threshold=new, high_threshold=high)


def _lower_high(
    found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    scores = _scores(found)
    for share in (0.5, 0.75):
        high = max(_below(scores, share), settings.low_threshold)
        if high < settings.high_threshold:
            text = f"let detections from {high} on find lost tracks again"
            yield _trial("weak return", settings, text, high_threshold=high)


def _revive_longer(
    found: Sequence[Explained], settings: TrackerSettings, rates: Mapping[str, float]
) -> Iterator[Trial]:
    if settings.tracker == "steady":
        text = "let weak detections revive what was lost twice as long ago"
        if settings.revive_seconds is None:
            frames = max(2 * settings.revive_frames, 5)
            yield _trial("weak return", settings, text, revive_frames=frames)
        else:
            seconds = round(max(2 * settings.revive_seconds, 0.2), 3)
            yield _trial("weak return", settings, text, revive_seconds=seconds)
    yield from _lower_high(found, settings, rates)


def _wait_longer(
    found: Sequence[Explained], settings: TrackerSettings, rates: Mapping[str, float]
) -> Iterator[Trial]:
    for share in (0.8, 0.5):
        if settings.lost_seconds is not None:
            gaps = [item.gap / max(rates[item.event.sequence], 1e-6) for item in found]
            wait = math.ceil(10 * float(np.quantile(gaps, share))) / 10
            seconds = min(wait, _LONGEST_WAIT_SECONDS)
            if seconds > settings.lost_seconds:
                text = f"keep lost tracks for {seconds} seconds"
                yield _trial("lost too long", settings, text, lost_seconds=seconds)
            continue
        frames = math.ceil(float(np.quantile([item.gap for item in found], share)))
        frames = min(frames, _LONGEST_WAIT)
        if frames > settings.lost_frames:
            text = f"keep lost tracks for {frames} frames"
            yield _trial("lost too long", settings, text, lost_frames=frames)


def _wait_shorter(
    _found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    if settings.lost_seconds is None:
        frames = settings.lost_frames // 2
        yield _trial(
            "taken over", settings, f"keep lost tracks for {frames} frames", lost_frames=frames
        )
    else:
        seconds = round(settings.lost_seconds / 2, 3)
        yield _trial(
            "taken over", settings, f"keep lost tracks for {seconds} seconds", lost_seconds=seconds
        )


def _match_wider(
    found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    names = {
        "first": "match_threshold",
        "second": "second_match_threshold",
        "unconfirmed": "unconfirmed_match_threshold",
        "revive": "revive_match_threshold",
    }
    stages = [item.stage for item in found]
    # A stage is worth a replay if a fifth of the events lies in it.
    often = [stage for stage in names if 5 * stages.count(stage) >= len(stages)]  # type: ignore[arg-type]
    for step in (0.5, 0.75):
        for stage in sorted(often, key=lambda s: -stages.count(s)):  # type: ignore[arg-type]
            now = getattr(settings, names[stage])
            value = round(now + step * (1 - now), 3)
            if value > now:
                cause = found[0].event.cause
                text = "let boxes match that overlap less"
                yield _trial(cause, settings, text, **{names[stage]: value})
    if settings.tracker == "steady" and settings.height_weight > 0:
        weight = max(settings.height_weight - 1, 0.0)
        text = "let boxes match whose heights differ more"
        yield _trial(found[0].event.cause, settings, text, height_weight=weight)


def _match_closer(
    _found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    value = round(max(settings.match_threshold - 0.1, 0.05), 3)
    if value < settings.match_threshold:
        text = "let only boxes match that overlap more"
        yield _trial("crossed", settings, text, match_threshold=value)


def _filter_less(
    found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    sizes = np.concatenate([item.sizes for item in found]).astype(np.float64)
    areas, ratios = sizes.prod(axis=1), sizes[:, 0] / np.maximum(sizes[:, 1], 1e-9)
    small = areas < settings.min_box_area
    wide = ratios > (math.inf if settings.max_aspect_ratio is None else settings.max_aspect_ratio)
    most: dict[str, float | None] = {}
    everything: dict[str, float | None] = {}
    if small.any():
        most["min_box_area"] = float(math.floor(float(np.quantile(areas[small], 0.1))))
        everything["min_box_area"] = 0.0
    if wide.any():
        most["max_aspect_ratio"] = math.ceil(10 * float(np.quantile(ratios[wide], 0.9))) / 10
        everything["max_aspect_ratio"] = None
    if most:
        yield _trial("filtered", settings, "let most of the boxes through", **most)
        yield _trial("filtered", settings, "let all of the boxes through", **everything)


def _vote(
    _found: Sequence[Explained], settings: TrackerSettings, _rates: Mapping[str, float]
) -> Iterator[Trial]:
    if settings.class_mode != "vote":
        text = "let a track keep the class it was seen as most often"
        yield _trial("wrong class", settings, text, class_mode="vote")


def _fill_gaps(explained: Sequence[Explained]) -> Trial | None:
    gaps = [item.gap for item in explained if item.event.kind == "fragment" and item.event.boxes]
    if not gaps:
        return None
    value = min(math.ceil(float(np.quantile(gaps, 0.9))), _LONGEST_FILL)
    text = f"fill gaps of up to {value} frames when the whole video is there"
    return Trial(None, (Change("refine", "max_gap", 0, value),), text)


_REMEDIES: dict[
    Cause | None,
    Callable[[Sequence[Explained], TrackerSettings, Mapping[str, float]], Iterator[Trial]],
] = {
    "low score": _lower_low,
    "weak start": _lower_start,
    "weak return": _revive_longer,
    "lost too long": _wait_longer,
    "not matched": _match_wider,
    "camera moved": _match_wider,
    "crossed": _match_closer,
    "taken over": _wait_shorter,
    "filtered": _filter_less,
    "wrong class": _vote,
}


def _trial(
    cause: Cause | None, settings: TrackerSettings, text: str, **values: float | str | None
) -> Trial:
    changes = tuple(
        Change("tracker", name, getattr(settings, name), value)
        for name, value in values.items()
        if value != getattr(settings, name)
    )
    return Trial(cause, changes, text)


def _scores(found: Sequence[Explained]) -> NDArray[np.float64]:
    """Scores of all boxes missed."""
    return np.concatenate([item.scores for item in found]).astype(np.float64)


def _below(scores: NDArray[np.float64], share: float, *, strictly: bool = False) -> float:
    """A round threshold that so large a share of the scores passes.

    Args:
        scores: In [0, 1].
        share: How many are to pass.
        strictly: Whether a score must lie above the threshold to pass, or may be equal.
    """
    value = float(np.quantile(scores, 1 - share)) - (1e-4 if strictly else -1e-6)
    return max(math.floor(100 * value) / 100, 0.0)
