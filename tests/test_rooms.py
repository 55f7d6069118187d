"""Who loads what: each room in a fresh interpreter, and what is said when a package is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest

import motrail
from models import spots_picture, write_bundle

GREEDY = 60  # seconds after which a process counts as stuck
SOURCE = Path(motrail.__file__).parent

NUMPY = frozenset({"numpy"})
PYDANTIC = frozenset(
    {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
)
# numpy.f2py, which scipy loads, takes charset_normalizer where it finds it.
SCIPY = NUMPY | {"scipy", "charset_normalizer"}
MSGSPEC = NUMPY | {"msgspec", "typing_extensions"}
TORCH = frozenset(
    {
        "torch",
        "torchgen",
        "functorch",
        "tqdm",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
        "markupsafe",
    }
    | {"filelock", "fsspec", "yaml", "packaging", "typing_extensions"}
)
WEB = frozenset(
    {"starlette", "uvicorn", "anyio", "h11", "click", "python_multipart", "prometheus_client"}
)
CLI = frozenset({"cyclopts", "rich", "attr", "attrs", "docstring_parser", "rich_rst", "docutils"})
TERMINAL = frozenset({"markdown_it", "mdurl", "pygments"})

# What a room may load from other people. The longest name that fits a module counts.
ALLOWED = {
    "motrail": frozenset[str](),
    "motrail.types": NUMPY,
    "motrail.boxes": NUMPY,
    "motrail.interop": NUMPY,
    "motrail.pipeline": NUMPY,
    "motrail.tracking": NUMPY,
    "motrail.detecting": NUMPY | MSGSPEC,
    "motrail.refining": MSGSPEC,
    "motrail.filming": SCIPY | MSGSPEC | {"cv2"},
    "motrail.moving": NUMPY,
    "motrail.sinks": NUMPY,
    "motrail.replay": NUMPY,
    "motrail.remote": NUMPY,
    "motrail.serve": SCIPY | MSGSPEC | PYDANTIC | WEB | {"av", "cv2", "huey", "PIL"},
    "motrail.label": SCIPY | MSGSPEC | PYDANTIC | WEB | {"av", "cv2", "PIL"},
    "motrail.analyze": SCIPY | MSGSPEC | PYDANTIC | {"av", "cv2", "PIL"},
    "motrail.demo": frozenset[str](),
    "motrail.report": frozenset[str](),
    "motrail.train": SCIPY | MSGSPEC | PYDANTIC | TORCH | {"cv2", "PIL"},
    "motrail.tune": SCIPY | MSGSPEC,
    "motrail.sagemaker": SCIPY | MSGSPEC | PYDANTIC | {"av", "cv2", "PIL"},
    "motrail.batch": NUMPY | PYDANTIC | {"av", "cv2", "PIL"},
    "motrail.workers": frozenset[str](),
    "motrail.names": frozenset[str](),
    "motrail.formats": MSGSPEC,
    "motrail.dataset": MSGSPEC,
    "motrail.evaluate": SCIPY | MSGSPEC,
    "motrail.dataset.scenes": SCIPY | MSGSPEC | {"cv2"},
    "motrail.dataset.synth": SCIPY | MSGSPEC | {"cv2"},
    "motrail.track": SCIPY,
    "motrail.detect": NUMPY | PYDANTIC | {"cv2"},
    "motrail.video": NUMPY | {"av", "cv2", "PIL"},
    "motrail.video.draw": NUMPY,
    "motrail.cli": CLI | TERMINAL,
    "motrail.__main__": CLI | TERMINAL,
}
NEVER = frozenset({"torch", "torchvision", "boto3", "botocore", "starlette", "uvicorn", "onnx"})
OWN = {
    "motrail.train": frozenset({"torch"}),
    "motrail.serve": frozenset({"starlette", "uvicorn"}),
    "motrail.label": frozenset({"starlette", "uvicorn"}),
}


class Loaded(NamedTuple):
    """Top-level names of packages that are not Python's own nor ours."""

    loaded: frozenset[str]
    asked_for: frozenset[str]


_PROBE = """
    import sys
    before, asked = set(sys.modules), set()

    class Ear:
        def find_spec(self, name, path=None, target=None):
            asked.add(name.partition(".")[0])

    sys.meta_path.insert(0, Ear())
    exec(sys.argv[1])
    import json
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    print("\\n" + json.dumps([sorted(loaded), sorted(asked)]))
"""


def python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=GREEDY,
        check=False,
        **options,
    )


def probe(code: str) -> Loaded:
    """What the code loads in a fresh interpreter."""
    ended = python(_PROBE, code)
    assert ended.returncode == 0, ended.stderr
    loaded, asked = json.loads(ended.stdout.splitlines()[-1])
    return Loaded(_foreign(loaded), _foreign(asked))


def _foreign(names: list[str]) -> frozenset[str]:
    # Cython and scipy leave nameless helpers of their own; all begin with an underscore.
    own = sys.stdlib_module_names | {"motrail", "cython_runtime"}
    return frozenset(name for name in names if name not in own and not name.startswith("_"))


def modules() -> list[str]:
    """Every module of the package, found on disk."""
    parts = [path.relative_to(SOURCE.parent).with_suffix("").parts for path in SOURCE.rglob("*.py")]
    return sorted(".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts)


def room_of(module: str) -> str:
    return max((r for r in ALLOWED if module == r or module.startswith(f"{r}.")), key=len)


def rooms() -> dict[str, list[str]]:
    """The modules of each room."""
    found: dict[str, list[str]] = {}
    for module in modules():
        found.setdefault(room_of(module), []).append(module)
    return found


@pytest.fixture(scope="module")
def probed() -> dict[str, Loaded]:
    """What the modules of each room load together; two interpreters at a time."""
    code = {room: "\n".join(f"import {m}" for m in names) for room, names in rooms().items()}
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(code, pool.map(probe, code.values()), strict=True))


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"numpy", "scipy"} <= probe("import scipy.optimize").loaded
    assert probe("import json, email") == Loaded(frozenset(), frozenset())
    hidden = "try:\n import torch_that_is_not_there\nexcept ImportError: pass"
    assert probe(hidden).asked_for == {"torch_that_is_not_there"}


def test_the_list_of_modules_is_not_empty() -> None:
    assert {"motrail", "motrail.track.byte", "motrail.video.stream"} <= set(modules())
    assert {"motrail", "motrail.track", "motrail.train"} <= set(rooms())


@pytest.mark.parametrize("room", rooms())
def test_a_room_loads_only_what_belongs(room: str, probed: dict[str, Loaded]) -> None:
    found = probed[room]
    # PyTorch itself looks for many others.
    never = NEVER - OWN.get(room, frozenset())
    forbidden = (found.loaded if "torch" in found.loaded else found.asked_for) & never
    strangers = (found.loaded - ALLOWED[room]) | forbidden
    if not strangers:
        return
    guilty = [m for m in rooms()[room] if probe(f"import {m}").asked_for & strangers]
    pytest.fail(f"{', '.join(guilty)} asked for {', '.join(sorted(strangers))}")


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import motrail; motrail.__version__; dir(motrail)", frozenset[str]()),
        ("from motrail import Detections, Frame, MotrailError, Tracks", NUMPY),
        ("from motrail import *", SCIPY),
        ("from motrail import ByteTracker; ByteTracker()", SCIPY),
        ("from motrail.config import resolve; resolve([])", frozenset[str]()),
        (
            "from motrail.cli.app import run; assert run(['config', 'show']) == 0",
            CLI | TERMINAL,
        ),
    ],
)
def test_using_it_loads_only_what_belongs(code: str, allowed: frozenset[str]) -> None:
    strangers = probe(code).loaded - allowed
    assert not strangers, f"loaded {', '.join(sorted(strangers))}"


def test_the_tracker_works_where_only_numpy_and_scipy_are(tmp_path: Path) -> None:
    found = probe(
        "from motrail import ByteTracker, Detections\n"
        "tracker = ByteTracker()\n"
        "for left in range(5):\n"
        "    found = Detections([[left, 0, left + 9, 9], [50, 0, 60, 9.0]], [0.9, 0.8], [0, 1])\n"
        "    tracks = tracker.update(found)\n"
        "assert tracks.ids.tolist() == [1, 2]"
    )
    assert found.loaded <= SCIPY
    assert {"numpy", "scipy"} <= found.loaded


def test_drawing_loads_supervision_when_a_drawer_is_made() -> None:
    start = "from motrail.video.draw import TrackDrawer\n"
    made = "TrackDrawer(['a'], width=64, height=64, frame_rate=25)"
    assert "supervision" not in probe(start).loaded
    assert "supervision" in probe(start + made).loaded


def test_a_detector_loads_neither_video_nor_drawing(kit: Path) -> None:
    start = "from motrail.detect.detector import load_detector\n"
    found = probe(f"{start}load_detector({str(kit / 'spots')!r})")
    assert "onnxruntime" in found.loaded
    assert not found.loaded & {"av", "PIL", "supervision", "scipy", "rich", "cyclopts"}
    assert not found.asked_for & NEVER


def test_a_whole_run_asks_for_nothing_forbidden(kit: Path, tmp_path: Path) -> None:
    words = ["track", str(kit / "walk"), "-m", str(kit / "spots"), "-o", str(tmp_path / "out")]
    found = probe(f"from motrail.cli.app import run; assert run({words!r}) == 0")
    assert {"av", "cv2", "onnxruntime", "scipy", "supervision"} <= found.loaded
    assert not found.asked_for & NEVER
    found = probe(f"from motrail.cli.app import run; assert run({[*words, '--no-video']!r}) == 0")
    assert "supervision" not in found.loaded


def test_only_the_main_thread_imports(kit: Path, tmp_path: Path) -> None:
    """A signal in the middle of an import can leave a lock held, for which other threads wait."""
    code = """
        import json, sys, threading

        class Ear:
            def find_spec(self, name, path=None, target=None):
                if threading.current_thread() is not threading.main_thread():
                    heard.setdefault(threading.current_thread().name, name)

        heard = {}
        sys.meta_path.insert(0, Ear())
        from motrail.cli.app import run
        assert run(sys.argv[1:]) == 0
        print(json.dumps(heard))
    """
    words = ["track", str(kit / "walk"), "-m", str(kit / "spots"), "-o", str(tmp_path / "out")]
    ended = python(code, *words)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == {}


class TestNames:
    def test_all_resolve(self) -> None:
        for name in motrail.__all__:
            value = getattr(motrail, name)
            assert isinstance(value, type)
            assert value.__module__.startswith("motrail.")
            assert value.__name__ == name

    def test_dir(self) -> None:
        assert {*motrail.__all__, "__version__"} <= set(dir(motrail))
        assert dir(motrail) == sorted(set(dir(motrail)))
        for name in dir(motrail):
            getattr(motrail, name)

    def test_version(self) -> None:
        project = (SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        found = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
        assert found
        assert motrail.__version__ == found[1]

    def test_unknown(self) -> None:
        name = "ByteTraker"
        with pytest.raises(AttributeError, match="module 'motrail' has no attribute 'ByteTraker'"):
            getattr(motrail, name)
        assert not hasattr(motrail, "cv2")

    def test_from_import_of_an_unknown_name(self) -> None:
        with pytest.raises(ImportError, match="ByteTraker"):
            exec("from motrail import ByteTraker")  # noqa: S102


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a folder of images."""
    folder = tmp_path_factory.mktemp("kit")
    write_bundle(folder / "spots")
    (folder / "walk").mkdir()
    for number in range(3):
        image = spots_picture([8 + 2 * number])
        assert cv2.imwrite(str(folder / "walk" / f"{number}.png"), image)
    return folder


_WITHOUT = """
    import sys

    class Wall:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == sys.argv[1]:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Wall())
"""
_RUN = _WITHOUT + "\n    from motrail.cli import main\n    main(sys.argv[2:])\n"


class TestMissingExtras:
    @pytest.mark.parametrize(
        ("package", "extras", "flags"),
        [
            ("onnxruntime", "detect,video", ["--no-video"]),
            ("cv2", "detect,video", ["--no-video"]),
            ("av", "detect,video", ["--no-video"]),
            ("PIL", "detect,video", ["--no-video"]),
            ("supervision", "detect,video", []),
            ("openvino", "openvino", ["--device", "openvino"]),
        ],
    )
    def test_command(
        self, kit: Path, tmp_path: Path, package: str, extras: str, flags: list[str]
    ) -> None:
        out = tmp_path / "out"
        words = ["track", str(kit / "walk"), "-m", str(kit / "spots"), "-o", str(out), *flags]
        ended = python(_RUN, package, *words)
        assert (ended.returncode, ended.stdout) == (1, "")
        found = re.fullmatch(
            r"error: '(\w+)' is needed for this and not installed; "
            r'run: pip install "motrail\[([\w,]+)\]"\n',
            ended.stderr,
        )
        assert found, ended.stderr
        assert found[1] == package
        assert found[2] == extras
        assert not out.exists() or not list(out.iterdir())

    def test_what_is_not_needed_is_not_missed(self, kit: Path, tmp_path: Path) -> None:
        words = ["track", str(kit / "walk"), "-m", str(kit / "spots"), "-o", str(tmp_path / "out")]
        ended = python(_RUN, "supervision", *words, "--no-video")
        assert (ended.returncode, ended.stderr) == (0, "")

    def test_python(self, kit: Path) -> None:
        """The error is ours and an ImportError, and says what is missing and what brings it."""
        cases = {
            "supervision": "from motrail.interop import to_supervision as call\n"
            "from motrail import Detections\n"
            "call(Detections.empty())",
            "onnxruntime": "from motrail.detect.detector import load_detector\n"
            f"load_detector({str(kit / 'spots')!r})",
            "av": "import motrail.video.write",
            "cv2": "import motrail.detect.letterbox",
        }
        code = _WITHOUT + (
            "\n    from motrail.errors import MissingExtraError, MotrailError"
            "\n    try:"
            "\n        exec(sys.argv[2])"
            "\n    except ImportError as error:"
            "\n        assert isinstance(error, MissingExtraError), error"
            "\n        assert isinstance(error, MotrailError)"
            "\n        print(error.package, error.extra)"
        )
        said = {}
        for package, text in cases.items():
            ended = python(code, package, text)
            said[package] = ended.stdout.split() or ended.stderr
        assert said == {
            "supervision": ["supervision", "video"],
            "onnxruntime": ["onnxruntime", "detect"],
            "av": ["av", "video"],
            "cv2": ["cv2", "detect"],
        }

    def test_a_package_that_is_there_but_broken(self, kit: Path, tmp_path: Path) -> None:
        """As OpenCV without libGL: to install it again would not help."""
        words = ["track", str(kit / "walk"), "-m", str(kit / "spots"), "-o", str(tmp_path / "out")]
        reason = "libgomp.so.1: cannot open shared object file"
        (tmp_path / "onnxruntime.py").write_text(f"raise ImportError({reason!r})\n")
        start = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        run = "from motrail.cli import main; main(sys.argv[1:])"
        ended = python(start + run, *words)
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        assert reason in ended.stderr
