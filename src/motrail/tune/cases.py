"""The sequences that settings are tried on: detections with the truth."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import motrail
from motrail.config import RefineSettings, TrackerSettings
from motrail.errors import ConfigError, DataError, FormatError
from motrail.evaluate.clear import Clear
from motrail.evaluate.hota import Hota
from motrail.evaluate.identity import Identity
from motrail.evaluate.protocol import some
from motrail.evaluate.run import Score, read_truth, score
from motrail.evaluate.tracked import as_labels, track_detections
from motrail.formats.labels import Coded, Labels
from motrail.formats.mot.detections import read_detections

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from motrail.evaluate.protocol import Protocol
    from motrail.formats.mot.detections import DetectionFile
    from motrail.tune.space import Sections


_IN_SECONDS = ("lost_seconds", "revive_seconds", "coast_seconds")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A sequence.

    Attributes:
        truth: Its labels; the name, the length and the frame rate of the sequence are theirs.
        file: Its detections, with the low scores.
    """

    truth: Labels
    file: DetectionFile

    @property
    def name(self) -> str:
        """The sequence."""
        return self.truth.name


def read_cases(
    detections: Path, truth: Path, protocol: Protocol, notes: Counter[str]
) -> list[Case]:
    """Sequences that have both detections and truth, in the order of the truth.

    Args:
        detections: A folder of `<sequence>.txt`, or one file.
        truth: A dataset, one of its splits, or labels in any format.
        protocol: Decides which classes there must be.
        notes: Grows by what the user should know.

    Raises:
        FormatError: A file is not as its format asks, or the detections belong to other sequences.
        DataError: There is nothing to try settings on, or classes cannot be joined by name.
    """
    found = {file.name: file for file in read_detections(detections)}
    used = {
        file.classes[number]
        for file in found.values()
        for number in np.unique(file.detections.class_ids).tolist()
    }
    if not used:
        raise DataError(f"{detections}: expected detections, found none in {some(sorted(found))}")
    cases: dict[str, Case] = {}
    seen: set[str] = set()
    unknown = set(used)
    for labels in read_truth(truth):
        if labels.name in seen:
            raise FormatError(truth, f"expected each sequence once, found {labels.name!r} again")
        seen.add(labels.name)
        if labels.name not in found:
            notes[f"{labels.name}: has no detections, and is left out"] += 1
            continue
        unknown &= set(protocol.check(labels.classes, used))
        cases[labels.name] = _case(labels, found[labels.name], detections)
    _check(cases, seen, found, detections, truth)
    for name in sorted(found.keys() - seen):
        notes[f"{name}: is no sequence of the truth, and is left out"] += 1
    for name in sorted(unknown):
        notes[f"{name}: is no class of the truth, and does not count; --map {name}=… may help"] += 1
    return list(cases.values())


def _case(labels: Labels, file: DetectionFile, path: Path) -> Case:
    last = int(file.detections.frames.max(initial=0))
    if last > labels.length:
        raise FormatError(
            path,
            f"expected frames 1 to {labels.length} of {labels.name!r}, found {last}; are these "
            "detections of the whole sequence, or of another one?",
        )
    nothing = Coded[Any].none(len(labels))
    bare = labels.replace(attributes=nothing, source_ids=nothing, frame_attributes={}, pictures={})
    return Case(bare, file)


def _check(
    cases: Mapping[str, Case],
    seen: Iterable[str],
    found: Iterable[str],
    detections: Path,
    truth: Path,
) -> None:
    if not cases:
        raise FormatError(
            detections,
            f"expected detections of the sequences of {truth} ({some(sorted(seen))}), "
            f"found those of {some(sorted(found))}",
        )
    if not any(len(case.truth) for case in cases.values()):
        raise DataError(f"{truth}: expected labels to score against, found none")


def check_rates(cases: Iterable[Case], base: TrackerSettings) -> None:
    """See that seconds can be turned into frames.

    Raises:
        ConfigError: A sequence has no frame rate, and `lost_seconds` is set.
    """
    given = [name for name in _IN_SECONDS if getattr(base, name) is not None]
    if not given or base.frame_rate is not None:
        return
    for case in cases:
        if not case.truth.frame_rate:
            name = given[0]
            raise ConfigError(
                f"{name}: the frame rate of {case.name!r} is not known; set frame_rate, or "
                f"{name.replace('seconds', 'frames')} in place of {name}"
            )


def evaluate_case(case: Case, settings: Sections, protocol: Protocol) -> Score:
    """What settings score on a sequence, all its classes as one.

    Raises:
        ConfigError: Settings contradict each other.
        DataError: The truth makes no sense.
    """
    refinement = RefineSettings(**settings["refine"]) if "refine" in settings else None
    chosen = TrackerSettings(**settings["tracker"])
    tracks = track_detections(case.truth, case.file, chosen, refinement)
    results = as_labels(case.truth, case.file, tracks)
    return Score.combined(list(score(case.truth, results, protocol).values()))


def fingerprint(case: Case, protocol: Protocol) -> str:
    """SHA-256 of all that a score depends on but the settings."""
    digest = hashlib.sha256(_program())
    truth = case.truth
    names = [case.file.classes, truth.classes, truth.length, truth.frame_rate]
    names += [truth.width, truth.height]
    digest.update(json.dumps([names, protocol.as_dict()], sort_keys=True).encode())
    found = case.file.detections
    for column in (
        *(found.frames, found.boxes_xyxy, found.scores, found.class_ids),
        *(truth.frames, truth.ids, truth.boxes_xywh, truth.class_ids, truth.ignore),
        *(truth.visibility, np.array(truth.listed_frames(), np.int64)),
    ):
        digest.update(f"{column.dtype.str}{column.shape}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


@functools.cache
def _program() -> bytes:
    """Sum over the source of what tracks and scores: another program may give another score."""
    package = Path(motrail.__file__).parent
    files = [package / "replay.py", *package.glob("track/*.py"), *package.glob("evaluate/*.py")]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.digest()


_PARTS: dict[str, type[Any]] = {"hota": Hota, "clear": Clear, "identity": Identity}


def score_to_json(score: Score) -> str:
    """A score as text; nothing is rounded."""
    parts = {
        name: {
            item.name: _plain(getattr(getattr(score, name), item.name))
            for item in dataclasses.fields(cls)
        }
        for name, cls in _PARTS.items()
    }
    return json.dumps(parts)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def score_from_json(text: str) -> Score:
    """The score that `score_to_json` wrote.

    Raises:
        ValueError: It wrote something else.
    """
    parts = json.loads(text)
    try:
        values = {
            name: cls(
                **{
                    key: np.array(value) if isinstance(value, list) else value
                    for key, value in parts[name].items()
                }
            )
            for name, cls in _PARTS.items()
        }
        return Score(**values)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"expected a score: {error}") from error
