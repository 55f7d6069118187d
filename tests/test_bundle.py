"""Model bundles: what is read, and what is said about what cannot be."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from models import spot_network, spot_spec, write_archive, write_bundle
from motrail.config import DetectorSettings
from motrail.detect import bundle as bundles
from motrail.detect.bundle import read_bundle, read_labels
from motrail.detect.detector import find_bundle, load_detector
from motrail.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = json.dumps(spot_spec()).encode()
_INPUT = {"height": 128, "width": 128, "color": "bgr"}


def test_folder_and_archive_say_the_same(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "folder")
    archive = write_archive(
        tmp_path / "model.tar.gz",
        {"./model.json": SPEC, "notes.txt": b"hello", "./model.onnx": spot_network()},
    )
    assert read_bundle(folder).spec == read_bundle(archive).spec
    assert load_detector(archive).class_names == load_detector(folder).class_names == ("spot",)


def test_defaults_of_a_spec(tmp_path: Path) -> None:
    spec = read_bundle(write_bundle(tmp_path)).spec
    assert spec is not None
    assert (spec.input.pad, spec.input.scale, spec.input.letterbox) == (114, 1.0, "top-left")
    assert spec.thresholds.score is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version: Input should be 1, found '2'"),
        ({"classes": []}, "classes: .*at least 1 item"),
        ({"classes": ["a", "a"]}, "content: two classes have the same name"),
        ({"clases": ["a"]}, "clases: Extra inputs are not permitted"),
        ({"classes": "a"}, "classes: "),
        (
            {"input": {"height": 100, "width": 128, "color": "bgr"}},
            "input.height: .*multiple of 32",
        ),
        ({"input": _INPUT | {"height": 1 << 20}}, "input.height: .*8192"),
        (
            {"input": _INPUT | {"color": "grey"}},
            "input.color: .*'rgb' or 'bgr'",
        ),
        (
            {"input": _INPUT | {"std": [1, 0, 1]}},
            "input: .*std must be above 0",
        ),
        ({"output": {"format": "yolov88"}}, "output.format: .*'yolov8', .*found 'yolov88'"),
        ({"input": _INPUT | {"letterbox": "middle"}}, "input.letterbox: .*'center' or 'stretch'"),
        ({"thresholds": {"score": 2}}, "thresholds.score: .*less than or equal to 1"),
    ],
)
def test_faults_of_a_spec_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_bundle(tmp_path, **changes)
    with pytest.raises(ModelError, match=rf"model\.json: {message}"):
        read_bundle(tmp_path)


def test_a_spec_that_is_no_json(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / "model.json").write_text('{"schema_version": 1')
    with pytest.raises(ModelError, match=r"model\.json: content: Invalid JSON"):
        read_bundle(tmp_path)


def test_classes_must_be_as_many_as_the_network_knows(tmp_path: Path) -> None:
    write_bundle(tmp_path, classes=["a", "b"])
    with pytest.raises(ModelError, match=r"336 cells × 7 numbers .*2 classes.*found .*\(336, 6\)"):
        load_detector(tmp_path)


def test_the_format_must_be_what_the_network_answers(tmp_path: Path) -> None:
    write_bundle(tmp_path, output={"format": "yolox-decoded"})
    with pytest.raises(ModelError, match="'yolox-decoded', but the network answers in 'yolox-raw'"):
        load_detector(tmp_path)


def test_the_size_must_be_what_the_network_takes(tmp_path: Path) -> None:
    write_bundle(tmp_path, input={"height": 64, "width": 96, "color": "bgr"})
    with pytest.raises(ModelError, match="says input 96×64, the network wants 128×128"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: b"not a network", "expected an ONNX network"),
        (lambda: b"", "expected an ONNX network"),
        (lambda: spot_network()[:-200], "expected an ONNX network"),
        (lambda: spot_network(columns=3), r"expected the output of a YOLOX network"),
        (lambda: spot_network(sigmoid=False), "scores between 0 and 1, found"),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, network: Callable[[], bytes], message: str
) -> None:
    write_bundle(tmp_path)
    (tmp_path / "model.onnx").write_bytes(network())
    with pytest.raises(ModelError, match=message) as caught:
        load_detector(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


# --- bare networks --------------------------------------------------------------------------------


def test_a_bare_network_needs_a_preset_and_names(tmp_path: Path) -> None:
    path = tmp_path / "three.onnx"
    path.write_bytes(spot_network(classes=3))
    with pytest.raises(ConfigError, match="add --preset bytetrack .*yolox"):
        load_detector(path)
    with pytest.raises(ModelError, match="knows 3 classes .*--labels FILE"):
        load_detector(path, DetectorSettings(preset="yolox"))
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\n")
    with pytest.raises(ModelError, match=r"labels\.txt: 2 names for the 3 classes"):
        load_detector(path, DetectorSettings(preset="yolox", labels=str(labels)))
    labels.write_text("a\nb\nc\n\n")
    detector = load_detector(path, DetectorSettings(preset="yolox", labels=str(labels)))
    assert detector.class_names == ("a", "b", "c")


def test_labels_with_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a\n\nb\n")
    with pytest.raises(ModelError, match=r"labels\.txt:2: expected the name of a class"):
        read_labels(path)
    with pytest.raises(ModelError, match="expected class names"):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.tar.gz", "no such file; expected a model bundle"),
        ("model.pt", "expected a folder, an .onnx file or a .tar.gz, found '.pt'"),
    ],
)
def test_what_is_no_model(tmp_path: Path, name: str, message: str) -> None:
    if name.endswith(".pt"):
        (tmp_path / name).write_bytes(b"pickle")
    with pytest.raises(ModelError, match=message):
        find_bundle(tmp_path / name)


def test_a_name_that_is_nearly_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="'yolox-z': no such model; did you mean yolox-"):
        find_bundle("yolox-z")
    (tmp_path / "yolox-s").mkdir()  # a folder of that name is a bundle
    with pytest.raises(ModelError, match="expected model.onnx and model.json in this folder"):
        find_bundle("yolox-s")


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected model\.onnx and model\.json"):
        read_bundle(tmp_path)


# --- hostile archives -----------------------------------------------------------------------------


def test_members_that_climb_out_are_not_even_read(tmp_path: Path) -> None:
    archive = write_archive(
        tmp_path / "model.tar.gz",
        {"../model.onnx": b"evil", "/model.json": b"evil", "model.pkl": b"evil"},
    )
    with pytest.raises(ModelError, match=r"model\.onnx and model\.json missing in the archive"):
        read_bundle(archive)
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("model.onnx")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ModelError, match=r"model\.onnx: expected a file, found a link or folder"):
        read_bundle(path)


def test_members_that_are_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "MAX_JSON_BYTES", 1000)
    path = write_archive(
        tmp_path / "model.tar.gz", {"model.json": b" " * 1001, "model.onnx": spot_network()}
    )
    with pytest.raises(ModelError, match=r"model\.json: larger than 1000 bytes"):
        read_bundle(path)


@pytest.mark.parametrize("keep", [10, 100, 400])
def test_an_archive_cut_in_half(tmp_path: Path, keep: int) -> None:
    path = write_archive(
        tmp_path / "model.tar.gz", {"model.json": SPEC, "model.onnx": spot_network()}
    )
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.tar\.gz: "):
        read_bundle(path)


def test_something_else_called_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(io.BytesIO(b"plain text" * 100).read())
    with pytest.raises(ModelError, match="expected a tar archive"):
        read_bundle(path)
