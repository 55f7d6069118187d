"""A tracker with fewer lost and swapped identities than BYTE, on the same detections.

It goes through BYTE's steps and changes what costs identities: the camera's own motion is taken
out; boxes that differ in height hardly match; the filter trusts a detector's box less; a weak
detection may also bring back an object that was lost a moment ago; objects that leave the picture
are forgotten, others remembered twice as long; and an object that is missed for a frame or two is
still given out.

Sources of the parts: Zhang et al., "ByteTrack", ECCV 2022 (associations by score); Aharon et al.,
"BoT-SORT", 2022 (width and height in the state, camera motion); Yang et al., "Hybrid-SORT", AAAI
2024 (overlap in height, change of the score).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.config import TrackerSettings
from motrail.errors import ConfigError
from motrail.track.association import match, side
from motrail.track.camera import motion_of_boxes
from motrail.track.kalman import (
    POSITION,
    BoxFilter,
    Noise,
    cxcywh_to_ltrb,
    ltrb_to_cxcywh,
)
from motrail.track.tracks import (
    CLASS,
    HITS,
    LOST,
    TrackTable,
    frames_of,
    given_out,
    split_by_score,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.config import CameraMotion, ClassMode
    from motrail.track.motion import Motion
    from motrail.types import Detections, Tracks

_LEAST_SCORE = 0.1
"""A score is not expected to fall below this."""
_OWN_SHARE = 0.5
"""Of a box given out, so much is the detector's and the rest the filter's."""


class SteadyTracker:
    """Follows objects from frame to frame; loses and swaps fewer of them than `ByteTracker`.

    Each frame, tracks are predicted by a Kalman filter and moved along with the camera; matched to
    the detections with high scores; what is left of those seen in the last frame, and of those lost
    a moment ago, to the detections with low scores; and new tracks are begun. A new track is given
    out when it is matched a second time; in the first frame at once. An instance has no state in
    common with any other: one per video, camera or session.

    Args:
        image_size: Width and height of the frames in pixels. Lost objects whose box has left the
            picture are forgotten then, so that nobody who comes in there gets their identity; None
            keeps them all for `lost_frames`.
        high_threshold: Detections that reach this score take part in the first association and
            may begin tracks. Raise it when false detections get tracks of their own.
        low_threshold: Detections above this score, but below `high_threshold`, can only continue
            tracks: objects that are half hidden or blurred. Lower ones are ignored.
        new_track_threshold: Score that a detection must reach to begin a track.
        match_threshold: Largest cost of a match in the first association, in (0, 1]: 1 − similarity
            · score + the surprise at the score. The similarity is the IoU, which counts inclusive
            pixels (+1), times the overlap in height to the power of `height_weight`. Raise it for
            fast objects or few frames a second; lower it when identities jump. None is 0.9, or 0.85
            where the camera's motion is given or off.
        second_match_threshold: The same for weak detections and tracks seen in the last frame;
            cost 1 − similarity.
        unconfirmed_match_threshold: The same for tracks seen once, cost 1 − similarity · score.
        revive_match_threshold: The same for weak detections and tracks that are lost, cost 1 −
            similarity. Lower it when weak detections of other things revive lost objects.
        revive_frames: The most frames since a track was last seen after which a weak detection
            brings it back; 0 leaves that to good detections.
        revive_seconds: The same in seconds, together with `frame_rate`; wins over it.
        lost_frames: The most consecutive missed frames after which a track can still be found
            again. Counts frames of the source, also when only every n-th is looked at.
        lost_seconds: The same in seconds, together with `frame_rate`; wins over `lost_frames`.
        coast_frames: For so many missed frames an object is still given out, where it is
            expected to be; 0 gives out what is seen and nothing else.
        coast_seconds: The same in seconds, together with `frame_rate`; wins over it.
        coast_hits: Only objects that were seen so often are.
        frame_rate: Frames a second of the source.
        height_weight: How much boxes of different height repel each other: 2 for upright people, 1
            for objects of changing shape, 0 compares by IoU alone.
        surprise_weight: How much it costs when a score is not what the last two let expect; 0
            leaves that out.
        measurement_noise: Standard deviation of a detector's box in units of its height. Raise it
            for detectors whose boxes jump; lower it where objects turn sharply.
        inside_share: A lost track goes when less than this share of its box is in the picture.
        camera_motion: `"detections"` finds the camera's motion in what most boxes do; `"given"`
            takes what `update` is given, which `motrail.video.flow` finds in pictures and
            `motrail.track.camera_file` in files; `"off"` is for cameras that stand still.
        class_mode: See `ByteTracker`.
        min_box_area: Boxes smaller than this, in square pixels, are tracked but not given out.
        max_aspect_ratio: Boxes whose width / height is above this are tracked but not given out.

    Attributes:
        motion: Of the camera, that the last `update` took out; None where nothing was known.

    Raises:
        ConfigError: A setting is out of range, or seconds are given without `frame_rate`.
    """

    def __init__(
        self,
        image_size: tuple[int, int] | None = None,
        *,
        high_threshold: float = 0.6,
        low_threshold: float = 0.1,
        new_track_threshold: float = 0.7,
        match_threshold: float | None = None,
        second_match_threshold: float = 0.5,
        unconfirmed_match_threshold: float = 0.7,
        revive_match_threshold: float = 0.4,
        revive_frames: int = 10,
        revive_seconds: float | None = None,
        lost_frames: int = 60,
        lost_seconds: float | None = None,
        coast_frames: int = 2,
        coast_seconds: float | None = None,
        coast_hits: int = 10,
        frame_rate: float | None = None,
        height_weight: float = 2.0,
        surprise_weight: float = 0.1,
        measurement_noise: float = 0.1,
        inside_share: float = 0.3,
        camera_motion: CameraMotion = "detections",
        class_mode: ClassMode = "separate",
        min_box_area: float = 0,
        max_aspect_ratio: float | None = None,
    ) -> None:
        if camera_motion not in ("detections", "given", "off"):
            raise ConfigError(
                "camera_motion: expected 'detections', 'given' or 'off', found "
                f"{camera_motion!r}; give what motrail.video.flow.Flow finds in frames, or "
                "motrail.track.camera_file.CameraFile knows, to `update` as 'given'"
            )
        chosen = TrackerSettings(  # which sees that all are in range
            tracker="steady",
            high_threshold=high_threshold,
            low_threshold=low_threshold,
            new_track_threshold=new_track_threshold,
            match_threshold=match_threshold,  # type: ignore[arg-type]  # it fills that in
            second_match_threshold=second_match_threshold,
            unconfirmed_match_threshold=unconfirmed_match_threshold,
            lost_frames=lost_frames,
            lost_seconds=lost_seconds,
            frame_rate=frame_rate,
            class_mode=class_mode,
            min_box_area=min_box_area,
            max_aspect_ratio=max_aspect_ratio,
            camera_motion=camera_motion,
            height_weight=height_weight,
            surprise_weight=surprise_weight,
            measurement_noise=measurement_noise,
            revive_match_threshold=revive_match_threshold,
            revive_frames=revive_frames,
            revive_seconds=revive_seconds,
            coast_frames=coast_frames,
            coast_seconds=coast_seconds,
            coast_hits=coast_hits,
            inside_share=inside_share,
        )
        if image_size is not None and min(image_size) < 1:
            raise ConfigError(f"image_size: expected width and height, found {image_size}")
        self.image_size = image_size
        # float32, as the scores are: 0.7 must reach 0.7.
        self.high_threshold = np.float32(high_threshold)
        self.low_threshold = np.float32(low_threshold)
        self.new_track_threshold = np.float32(new_track_threshold)
        self.match_threshold = chosen.match_threshold
        self.second_match_threshold = second_match_threshold
        self.unconfirmed_match_threshold = unconfirmed_match_threshold
        self.revive_match_threshold = revive_match_threshold
        self.revive_frames = frames_of("revive_seconds", revive_frames, revive_seconds, frame_rate)
        self.lost_frames = frames_of("lost_seconds", lost_frames, lost_seconds, frame_rate)
        self.coast_frames = frames_of("coast_seconds", coast_frames, coast_seconds, frame_rate)
        self.coast_hits = coast_hits
        self.height_weight = height_weight
        self.surprise_weight = surprise_weight
        self.measurement_noise = measurement_noise
        self.inside_share = inside_share
        self.camera_motion: CameraMotion = camera_motion
        self.class_mode: ClassMode = class_mode
        self.min_box_area = min_box_area
        self.max_aspect_ratio = max_aspect_ratio
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first, ids start from 1 again."""
        box_filter = BoxFilter(
            process=Noise(1 / 20),
            process_velocity=Noise(1 / 160),
            measurement=Noise(self.measurement_noise),
            birth=Noise(2 / 20),
            birth_velocity=Noise(10 / 160),
        )
        self.motion: Motion | None = None
        self._tracks = TrackTable(box_filter, ltrb_to_cxcywh, cxcywh_to_ltrb, self.class_mode)

    def update(
        self, detections: Detections, *, step: int = 1, motion: Motion | None = None
    ) -> Tracks:
        """Take in the detections of the next frame and answer with the tracks seen in it.

        Call it for frames without detections too: they age the tracks.

        Args:
            detections: What was detected, with the low scores. Not modified.
            step: Frames of the source since the last call, 1 or more; tracks are predicted that
                many times.
            motion: Of the camera since the last call, where `camera_motion` is `"given"`; None
                where nothing is known.

        Returns:
            The confirmed tracks matched in this frame, between the detector's box and the filtered
            one, with `detection_index` pointing into `detections`; and those missed for no more
            than `coast_frames`, with their last score and `detection_index` −1. Ordered by id.

        Raises:
            ConfigError: `step` is below 1, or there is a `motion` that nobody asked for.
        """
        if step < 1:
            raise ConfigError(f"step: expected 1 or more frames, found {step}")
        if motion is not None and self.camera_motion != "given":
            raise ConfigError("motion: expected camera_motion='given' together with it")
        tracks = self._tracks
        first = tracks.frame == 0
        tracks.frame += step
        self._tracks.predict(step, slice(2, None), self.lost_frames)
        boxes = np.array(detections.boxes_xyxy.T, np.float64, order="C")
        high, low = split_by_score(
            boxes, detections.scores, self.high_threshold, self.low_threshold
        )
        if self.camera_motion == "detections":
            motion = self._camera(boxes[:, high], detections.class_ids[high])
        self.motion = motion
        if motion is not None:
            motion.move(tracks.state)
        detection_of, unmatched = self._match_all(boxes, detections, high, low)
        tracks.see(detection_of, boxes, detections)
        born = unmatched[detections.scores[unmatched] >= self.new_track_threshold]
        detection_of = self._renew(detection_of, born, boxes, detections, first=first)
        return self._give_out(detection_of, boxes)

    def _camera(self, boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> Motion | None:
        tracks = self._tracks
        seen = (tracks.table[LOST, : tracks.confirmed] == 0).nonzero()[0]
        return motion_of_boxes(
            cxcywh_to_ltrb(tracks.state[POSITION][:, seen]),
            tracks.table[CLASS, seen],
            boxes,
            classes,
            classes_apart=self.class_mode == "separate",
        )

    def _match_all(
        self,
        boxes: NDArray[np.float64],
        detections: Detections,
        high: NDArray[np.intp],
        low: NDArray[np.intp],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Run the four associations; the detection of each track, and the high boxes left over."""
        tracks = self._tracks
        confirmed = tracks.confirmed
        lost = tracks.table[LOST, :confirmed] == 1
        expected = np.clip(2 * tracks.scores[0] - tracks.scores[1], _LEAST_SCORE, 1)
        known = side(tracks.boxes, tracks.table[CLASS], expected)
        found = side(boxes, detections.class_ids, detections.scores)
        detection_of = np.full(len(tracks), -1)
        taken = np.zeros(len(detections), np.bool_)

        def associate(
            these: NDArray[np.intp],
            those: NDArray[np.intp],
            threshold: float,
            *,
            weighted: bool = False,
            surprise: float = 0,
        ) -> None:
            rows, columns = match(
                known.take(these, axis=1),
                found.take(those, axis=1),
                threshold,
                weighted=weighted,
                classes=self.class_mode == "separate",
                height_weight=self.height_weight,
                surprise_weight=surprise,
            )
            detection_of[these[rows]] = those[columns]
            taken[those[columns]] = True

        everyone = np.arange(len(tracks))
        associate(everyone[:confirmed], high, self.match_threshold,
                  weighted=True, surprise=self.surprise_weight)  # fmt: skip
        missed = detection_of[:confirmed] < 0
        associate((missed & ~lost).nonzero()[0], low, self.second_match_threshold)
        left = high[~taken[high]]
        associate(everyone[confirmed:], left, self.unconfirmed_match_threshold, weighted=True)
        recent = lost & missed & (tracks.missed()[:confirmed] <= self.revive_frames)
        associate(recent.nonzero()[0], low[~taken[low]], self.revive_match_threshold)
        return detection_of, left[~taken[left]]

    def _renew(
        self,
        detection_of: NDArray[np.intp],
        born: NDArray[np.intp],
        boxes: NDArray[np.float64],
        detections: Detections,
        *,
        first: bool,
    ) -> NDArray[np.intp]:
        """Confirm, lose, forget and begin tracks; the detection of each track that is left."""
        tracks = self._tracks
        seen = detection_of >= 0
        tracks.table[LOST] = ~seen
        stays = seen | ((tracks.missed() <= self.lost_frames) & self._inside())
        stays[tracks.confirmed :] = seen[tracks.confirmed :]
        tracks.name(seen[tracks.confirmed :].nonzero()[0] + tracks.confirmed)
        tracks.keep(stays)
        tracks.confirmed = len(tracks)
        tracks.begin(boxes, detections, born)
        if first:
            tracks.name(np.arange(len(born)))
            tracks.confirmed = len(born)
        return np.concatenate((detection_of[stays], born))

    def _inside(self) -> NDArray[np.bool_]:
        """Whether enough of each track's box is in the picture."""
        if self.image_size is None:
            return np.ones(len(self._tracks), np.bool_)
        left, top, right, bottom = self._tracks.boxes
        width, height = self.image_size
        across = np.minimum(right, width) - np.maximum(left, 0)
        down = np.minimum(bottom, height) - np.maximum(top, 0)
        within_picture = np.maximum(across, 0) * np.maximum(down, 0)
        area = (right - left) * (bottom - top)
        inside: NDArray[np.bool_] = within_picture >= self.inside_share * area
        return inside

    def _give_out(self, detection_of: NDArray[np.intp], boxes: NDArray[np.float64]) -> Tracks:
        tracks = self._tracks
        count = tracks.confirmed
        found = detection_of[:count]
        seen = found >= 0
        coasting = tracks.missed()[:count] <= self.coast_frames
        coasting &= tracks.table[HITS, :count] >= self.coast_hits
        shown = (seen | coasting).nonzero()[0]
        placed = tracks.boxes[:, shown]
        own = seen[shown]
        placed[:, own] += _OWN_SHARE * (boxes[:, found[shown[own]]] - placed[:, own])
        return given_out(
            tracks,
            shown,
            placed,
            tracks.scores[0, shown].astype(np.float32),
            found[shown],
            min_box_area=self.min_box_area,
            max_aspect_ratio=self.max_aspect_ratio,
        )
