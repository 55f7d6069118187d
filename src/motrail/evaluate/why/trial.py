"""Track, score and explain all sequences under some settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.evaluate.clear import clear_matching
from motrail.evaluate.run import Score
from motrail.evaluate.tracked import as_labels
from motrail.evaluate.why.causes import name_causes
from motrail.evaluate.why.find import find_trouble
from motrail.evaluate.why.replayed import (
    Agreement,
    replay_sequence,
    rows_in_replay,
    which_classes,
)
from motrail.evaluate.why.scene import Scene
from motrail.track.lead import spare_detections
from motrail.track.refine import refine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.config import RefineSettings, TrackerSettings
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.why.causes import Explained
    from motrail.evaluate.why.motion import Motion
    from motrail.evaluate.why.replayed import Replayed
    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile

METRICS = ("HOTA", "IDF1", "MOTA")


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A sequence as the replays need it.

    Attributes:
        truth: What is right.
        results: What was made of it; None where the replay stands for it.
        file: The detections.
        motion: Of the truth.
    """

    truth: Labels
    results: Labels | None
    file: DetectionFile
    motion: Motion


class Outcome(NamedTuple):
    """What settings lead to.

    Attributes:
        metrics: HOTA, IDF1 and MOTA of all sequences as one, in per cent.
        explained: Events with causes; none of refined tracks.
        fragments: Number of fragments.
        agreement: Of results and replay; None where there are no results.
    """

    metrics: dict[str, float]
    explained: list[Explained]
    fragments: int
    agreement: Agreement | None = None


def try_settings(
    materials: Sequence[Material],
    settings: TrackerSettings,
    protocol: Protocol,
    refinement: RefineSettings | None = None,
) -> Outcome:
    """Replay all sequences, and score and explain what comes out.

    Args:
        materials: The sequences; their results are not looked at.
        settings: Of the tracker.
        protocol: Decides what counts.
        refinement: What is done to the tracks afterwards.

    Raises:
        DataError: There are detections beyond the end of a sequence.
        ConfigError: Settings contradict each other.
    """
    scores: list[Score] = []
    explained: list[Explained] = []
    for material in materials:
        replayed = replay_sequence(material.truth, material.file, settings)
        results = replayed.results
        if refinement is not None:
            results = _refined(replayed, refinement)
        else:
            explained += explain_results(
                material, results, np.flatnonzero(replayed.shown), replayed, protocol
            )
        counted = protocol.count(material.truth, results, material.truth.length)
        scores += [Score.of(part.pairs) for part in counted.values()]
    combined = Score.combined(scores)
    values = combined.as_dict()
    return Outcome({name: values[name] for name in METRICS}, explained, combined.clear.frag)


def explain_given(
    materials: Sequence[Material], settings: TrackerSettings, protocol: Protocol
) -> tuple[list[Explained], Agreement]:
    """Explain results that were given, by a replay that gives the same boxes.

    Raises:
        DataError: The replay gives others.
        ConfigError: Settings contradict each other.
    """
    explained: list[Explained] = []
    agreement = Agreement()
    for material in materials:
        replayed = replay_sequence(material.truth, material.file, settings)
        results, rows = replayed.results, np.flatnonzero(replayed.shown).astype(np.int64)
        if material.results is not None:
            results = material.results
            rows, one = rows_in_replay(material.truth, results, replayed)
            agreement += one
        explained += explain_results(material, results, rows, replayed, protocol)
    return explained, agreement


def explain_results(
    material: Material,
    results: Labels,
    rows: NDArray[np.int64],
    replayed: Replayed,
    protocol: Protocol,
) -> list[Explained]:
    """Find and explain what went wrong in a sequence.

    Args:
        material: The sequence.
        results: Its events are looked for.
        rows: Row of the replay's tracks of each box of `results`, or -1.
        replayed: What the tracker did.
        protocol: Decides what counts.
    """
    truth, explained = material.truth, []
    for name, part in protocol.count(truth, results, truth.length).items():
        matching = clear_matching(part.pairs)
        troubles = find_trouble(part, matching, truth, results, name)
        classes = which_classes(replayed.file, protocol, name)
        scene = Scene(part, matching, truth, rows, replayed, classes)
        explained += name_causes(scene, material.motion, troubles)
    return explained


def _refined(replayed: Replayed, refinement: RefineSettings) -> Labels:
    tracks, found = replayed.tracks[replayed.shown], replayed.file.detections
    tracks = refine(
        tracks,
        refinement,
        frame_rate=replayed.results.frame_rate,
        camera=replayed.camera,
        spare=spare_detections(found, replayed.tracks, refinement.lead_score),
    )
    return as_labels(replayed.results, replayed.file, tracks)
