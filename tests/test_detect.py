"""The detector: pictures in, boxes out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models import SIDE, spot_network, spots_picture, write_bundle
from motrail import Detections
from motrail.boxes import iou_xyxy
from motrail.config import DetectorSettings
from motrail.detect.bundle import COCO_CLASSES, InputSpec
from motrail.detect.decode import Grid, decode, is_decoded, non_maximum_suppression
from motrail.detect.detector import load_detector
from motrail.detect.letterbox import Letterbox
from motrail.detect.onnx import parse_device
from motrail.errors import ConfigError, DataError, ModelError
from motrail.video.read import decode_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from conftest import Prove

BYTETRACK = DetectorSettings(preset="bytetrack", score_threshold=0.5, nms_threshold=0.45)


# --- letterbox ------------------------------------------------------------------------------------


def spec(**changes: Any) -> InputSpec:
    content: dict[str, Any] = {"height": 64, "width": 96, "color": "bgr"}
    return InputSpec(**(content | changes))


def test_padding_lies_right_and_below() -> None:
    image = np.full((64, 48, 3), (10, 20, 30), np.uint8)
    blob = Letterbox(spec()).apply(image)
    assert blob.shape == (1, 3, 64, 96)
    assert blob.dtype == np.float32
    for channel, value in enumerate((10, 20, 30)):
        assert (blob[0, channel, :, :48] == value).all()
        assert (blob[0, channel, :, 48:] == 114).all()


def test_values_are_scaled_and_channels_turned() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    box = Letterbox(spec(color="rgb", scale=1 / 255, mean=mean, std=std))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 96, 3), dtype=np.uint8)
    blob = box.apply(image)
    padded = np.full((64, 96, 3), 114, np.uint8)
    padded[:32] = image
    expected = (padded[..., ::-1] / 255 - mean) / std
    np.testing.assert_allclose(blob[0].transpose(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (97, 53), (1, 1), (5000, 3), (96, 64)])
def test_boxes_come_back_exactly(size: tuple[int, int]) -> None:
    width, height = size
    box = Letterbox(spec())
    inside = box.size_inside(width, height)
    corners = np.array([[0, 0, inside[0], inside[1]]], np.float32)
    np.testing.assert_allclose(box.undo(corners, width, height), [[0, 0, width, height]], rtol=1e-6)
    box.apply(np.zeros((height, width, 3), np.uint8))


def test_memory_used_again_gives_the_same() -> None:
    box = Letterbox(spec())
    scratch = box.new_scratch()
    rng = np.random.default_rng(0)
    for shape in [(30, 70, 3), (70, 30, 3), (30, 70, 3)]:
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        before = image.copy()
        np.testing.assert_array_equal(box.apply(image, scratch), box.apply(image))
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(image: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="image: expected uint8 of shape"):
        Letterbox(spec()).apply(image)


# --- decoding and suppression ---------------------------------------------------------------------


def plain_suppression(
    boxes: NDArray[np.float32], classes: NDArray[np.int64], threshold: float
) -> list[int]:
    kept: list[int] = []
    for i in range(len(boxes)):
        rivals = [k for k in kept if classes[k] == classes[i]]
        if not any(iou_xyxy(boxes[[i]], boxes[[k]])[0, 0] > threshold for k in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.45, 0.7, 1.0])
def test_suppression_is_greedy(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 120, (120, 2)).astype(np.float32)
    size = rng.uniform(10, 60, (120, 2)).astype(np.float32)
    boxes = np.concatenate((corner, corner + size), axis=1)
    boxes[100:110] = boxes[:10]  # the same box twice
    classes = rng.integers(0, 2, 120)
    found = np.flatnonzero(non_maximum_suppression(boxes, classes, threshold))
    assert found.tolist() == plain_suppression(boxes, classes, threshold)


def test_decoding_by_hand() -> None:
    grid = Grid(64, 96, (8, 16, 32))
    assert len(grid) == 8 * 12 + 4 * 6 + 2 * 3
    output = np.zeros((len(grid), 7), np.float32)
    cell = 8 * 12 + 6 + 2  # second level, row 1, column 2
    output[cell] = [0.25, 0.5, np.log(2), np.log(3), 0.8, 0.1, 0.5]
    output[0] = [0, 0, 0, 0, 0.8, 0.1, 0.12]  # 0.096: too weak
    boxes, scores, classes = decode(
        output, grid, decoded=False, score_threshold=0.1, nms_threshold=0.7
    )
    np.testing.assert_allclose(boxes, [[36 - 16, 24 - 24, 36 + 16, 24 + 24]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.4])
    assert classes.tolist() == [1]


def test_a_score_equal_to_the_threshold_is_kept() -> None:
    grid = Grid(32, 32, (32,))
    output = np.array([[0, 0, 0, 0, 0.5, 0.5]], np.float32)
    for threshold, count in [(0.25, 1), (0.2500001, 0)]:
        boxes, _, _ = decode(
            output, grid, decoded=False, score_threshold=threshold, nms_threshold=1
        )
        assert len(boxes) == count


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_nan_is_an_error(value: float, message: str) -> None:
    grid = Grid(32, 32, (32,))
    output = np.array([[0, 0, value, 0, 0.9, 0.9]], np.float32)
    with pytest.raises(ModelError, match=message):
        decode(output, grid, decoded=False, score_threshold=0.1, nms_threshold=1)
    output[0, 2] = 1000  # finite, but its exponential is not
    with pytest.raises(ModelError, match="infinite size"):
        decode(output, grid, decoded=False, score_threshold=0.1, nms_threshold=1)


def test_layouts_are_told_apart() -> None:
    grid = Grid(64, 64, (8, 16, 32))
    rng = np.random.default_rng(0)
    raw = rng.normal(0.5, 0.5, (len(grid), 7)).astype(np.float32)
    raw[:, 4:] = 0.5
    pixels = raw.copy()
    pixels[:, :2] = (raw[:, :2] + grid.corners) * grid.strides
    assert not is_decoded(raw, grid, 2)
    assert is_decoded(pixels, grid, 2)
    with pytest.raises(ModelError, match=r"84 cells × 8 numbers .* found shape \(84, 7\)"):
        is_decoded(raw, grid, 3)
    far = raw.copy()
    far[:, :4] += 1e4
    with pytest.raises(ModelError, match="neither about their cells"):
        is_decoded(far, grid, 2)
    raw[3, 5] = 1.5
    with pytest.raises(ModelError, match=r"between 0 and 1, found 0\.5 to 1\.5"):
        is_decoded(raw, grid, 2)


# --- a whole detector -----------------------------------------------------------------------------


@pytest.mark.parametrize("decoded", [False, True])
def test_finds_the_spots(tmp_path: Path, decoded: bool) -> None:
    path = tmp_path / "spots.onnx"
    path.write_bytes(spot_network(decoded=decoded))
    labels = tmp_path / "names.txt"
    labels.write_text("spot\n")
    detector = load_detector(path, DetectorSettings(preset="yolox", labels=str(labels)))
    found = detector.detect(spots_picture([8, 72]))
    assert detector.class_names == ("spot",)
    # A spot of 16 pixels fills four cells of 8; suppression at 0.7 leaves all of them.
    assert len(found) == 8
    assert (iou_xyxy(found.boxes_xyxy, np.array([[8, 16, 24, 32]], np.float32)) > 0.3).sum() == 4


def test_a_picture_of_another_size_comes_back_in_its_own_pixels(tmp_path: Path) -> None:
    detector = load_detector(write_bundle(tmp_path / "b"), DetectorSettings(nms_threshold=0.1))
    image = np.repeat(np.repeat(spots_picture([16]), 4, axis=0), 2, axis=1)  # 256 wide, 512 high
    found = detector.detect(image)
    centre = (found.boxes_xyxy[0, :2] + found.boxes_xyxy[0, 2:]) / 2
    assert 32 <= centre[0] <= 64
    assert 64 <= centre[1] <= 128


def test_threads_get_the_same_answers(tmp_path: Path) -> None:
    detector = load_detector(write_bundle(tmp_path / "b"))
    pictures = [spots_picture([left, SIDE - 20 - left]) for left in range(0, 100, 2)]
    expected = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.detect, pictures)) == expected
    assert all(isinstance(found, Detections) for found in expected)


def test_wanted_classes(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_bytes(spot_network(classes=2))
    (bundle / "model.json").write_text(
        (bundle / "model.json").read_text().replace('["spot"]', '["spot", "other"]')
    )
    picture = spots_picture([8])
    for wanted, count in [(("spot",), 4), (("other",), 0), (("other", "spot"), 4), (None, 4)]:
        detector = load_detector(bundle, DetectorSettings(classes=wanted))
        assert len(detector.detect(picture)) == count
    with pytest.raises(ConfigError, match=r"does not know 'spott'; did you mean 'spot'\?"):
        load_detector(bundle, DetectorSettings(classes=("spott",)))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("mps", "mps is for training"),
        ("gpu", r"unknown 'gpu'; did you mean 'cpu'\?"),
        ("tpu:0", r"unknown 'tpu:0'; did you mean "),
        ("cuda:x", "unknown 'cuda:x'; did you mean 'cuda"),
    ],
)
def test_unknown_devices(device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_device(device)


def test_devices() -> None:
    assert parse_device("cuda:1") == ("cuda", 1)
    assert parse_device("cpu") == ("cpu", 0)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device: cuda is not in the installed onnxruntime"):
        load_detector(write_bundle(tmp_path / "b"), DetectorSettings(device="cuda:0"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold: expected from 0 to 1"),
        ({"nms_threshold": -0.1}, "nms_threshold: expected from 0 to 1"),
        ({"workers": 0}, "workers: expected from 1 to 1024, found 0"),
        ({"classes": ()}, "classes: expected at least one name"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_detector(write_bundle(tmp_path / "b"), DetectorSettings(**settings))


# --- real networks --------------------------------------------------------------------------------


@pytest.mark.both
def test_precision_and_recall_on_real_frames(data: Path, prove: Prove) -> None:
    detector = load_detector(data / "models" / "bytetrack_nano.onnx", BYTETRACK)
    right = found = there = 0
    for sequence in sorted((data / "mot17_mini").iterdir()):
        truth = np.loadtxt(sequence / "gt" / "gt.txt", delimiter=",")
        for path in sorted((sequence / "img1").glob("*.jpg")):
            detections = detector.detect(decode_image(path.read_bytes(), path.name))
            wanted = (truth[:, 0] == int(path.stem)) & (truth[:, 7] == 1) & (truth[:, 8] > 0.25)
            boxes = truth[wanted, 2:6].astype(np.float32)
            boxes[:, 2:] += boxes[:, :2]
            iou = iou_xyxy(detections.boxes_xyxy, boxes)
            taken: set[int] = set()
            for row in iou:  # best score first
                free = [int(j) for j in np.argsort(-row) if row[j] >= 0.5 and int(j) not in taken]
                taken.update(free[:1])
            right, found, there = right + len(taken), found + len(detections), there + len(boxes)
    precision, recall = right / found, right / there
    prove("detector on mot17_mini", "P .879 R .812 (±.002)", f"P {precision:.4f} R {recall:.4f}")
    assert precision == pytest.approx(0.879, abs=0.002)
    assert recall == pytest.approx(0.812, abs=0.002)


def test_the_other_preprocessing_gives_nothing(data: Path, tmp_path: Path) -> None:
    path = data / "mot17_mini" / "MOT17-02-FRCNN" / "img1" / "000001.jpg"
    image = decode_image(path.read_bytes(), path.name)
    labels = tmp_path / "labels.txt"
    labels.write_text("pedestrian\n")
    model = data / "models" / "bytetrack_nano.onnx"
    other = DetectorSettings(preset="yolox", score_threshold=0.5, labels=str(labels))
    assert len(load_detector(model, BYTETRACK).detect(image)) > 5
    assert len(load_detector(model, other).detect(image)) == 0


def test_openvino_sees_the_same(data: Path) -> None:
    pytest.importorskip("openvino")
    path = data / "mot17_mini" / "MOT17-09-FRCNN" / "img1" / "000001.jpg"
    image = decode_image(path.read_bytes(), path.name)
    model = data / "models" / "bytetrack_nano.onnx"
    settings = {"preset": "bytetrack", "score_threshold": 0.3}
    here = load_detector(model, DetectorSettings(**settings)).detect(image)  # type: ignore[arg-type]
    there = load_detector(model, DetectorSettings(**settings, device="openvino"))  # type: ignore[arg-type]
    assert there.device == "openvino"
    found = there.detect(image)
    assert len(found) == len(here) > 5
    np.testing.assert_allclose(found.boxes_xyxy, here.boxes_xyxy, atol=0.1)
    np.testing.assert_allclose(found.scores, here.scores, atol=1e-3)


def test_openvino_refuses_what_is_no_network(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match="expected an ONNX network"):
        load_detector(bundle, DetectorSettings(device="openvino"))


def test_coco_names(data: Path) -> None:
    detector = load_detector(data / "models" / "yolox_nano.onnx", DetectorSettings(preset="yolox"))
    assert detector.class_names == COCO_CLASSES
    assert len(COCO_CLASSES) == 80
    assert COCO_CLASSES[0] == "person"
    assert COCO_CLASSES[79] == "toothbrush"
