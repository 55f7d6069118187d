"""`motrail config show`: every setting, and where its value came from."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from models import spot_network, spot_spec, write_archive, write_bundle
from motrail.cli.app import run
from motrail.config import Settings, fields, variable_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TUNED = {
    "thresholds": {"score": 0.2},
    "tracker": {"high_threshold": 0.44, "match_threshold": 0.9, "lost_frames": 9},
}


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def show(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        code = run(["config", "show", *map(str, arguments)])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tuned", **TUNED)


def document(result: Result) -> dict[str, dict[str, dict[str, Any]]]:
    assert result.code == 0, result.err
    assert result.err == ""
    loaded: dict[str, dict[str, dict[str, Any]]] = json.loads(result.out)
    return loaded


def line_of(setting: str, text: str) -> list[str]:
    """The cells of the one line about a setting."""
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [setting]]
    return re.split(r" {2,}", line.strip())


def test_every_setting_is_there(show: Any) -> None:
    shown = document(show("--json"))
    settings = Settings()
    wanted = {
        (section, key): getattr(getattr(settings, section), key) for section, key, _ in fields()
    }
    found = {(section, key): v for section, keys in shown.items() for key, v in keys.items()}
    listed = {n: list(v) if isinstance(v, tuple) else v for n, v in wanted.items()}
    assert found == {name: {"value": value, "from": "default"} for name, value in listed.items()}
    text = show().out
    for (section, key), value in wanted.items():
        cells = line_of(f"{section}.{key}", text)
        assert cells == [
            f"{section}.{key}",
            (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value),
            "default",
            variable_name(section, key),
        ]


def test_origins(show: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[tracker]\nmatch_threshold = 0.7\n[detector]\nclasses = ['spot', 'a b']\n")
    monkeypatch.setenv("MOTRAIL_TRACKER_LOST_FRAMES", "5")
    monkeypatch.setenv("MOTRAIL_VIDEO_CRF", "30")
    arguments = ["--config", file, "--model", model]
    shown = document(show(*arguments, "--json"))
    bundle = f"{model}: model.json"
    wanted = {
        ("detector", "score_threshold"): (0.2, bundle),
        ("detector", "nms_threshold"): (0.7, "default"),
        ("detector", "classes"): (["spot", "a b"], str(file)),
        ("tracker", "high_threshold"): (0.44, bundle),
        ("tracker", "match_threshold"): (0.7, str(file)),
        ("tracker", "lost_frames"): (5, "MOTRAIL_TRACKER_LOST_FRAMES"),
        ("tracker", "low_threshold"): (0.1, "default"),
        ("video", "crf"): (30, "MOTRAIL_VIDEO_CRF"),
    }
    for (section, key), (value, origin) in wanted.items():
        assert shown[section][key] == {"value": value, "from": origin}, (section, key)
    text = show(*arguments).out
    for (section, key), (value, origin) in wanted.items():
        cells = line_of(f"{section}.{key}", text)
        assert cells[1] == (",".join(value) if isinstance(value, list) else str(value))
        assert cells[2] == origin


def test_an_archive_and_a_bare_network(show: Any, model: Path, tmp_path: Path) -> None:
    members = {
        "model.onnx": spot_network(),
        "model.json": json.dumps(spot_spec(**TUNED)).encode(),
    }
    archive = write_archive(tmp_path / "model.tar.gz", members)
    setting = document(show("-m", archive, "--json"))["tracker"]["high_threshold"]
    assert setting == {"value": 0.44, "from": f"{archive}: model.json"}
    bare = document(show("-m", model / "model.onnx", "--json"))
    assert bare == document(show("--json"))


@pytest.mark.parametrize("folder", ["[a]", "x[/a]", "[bold red]", "with  blanks", "ünï—😀"])
def test_a_path_is_shown_as_it_is(show: Any, tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / folder / "my.toml"
    file.write_text("[tracker]\nlost_frames = 3\n")
    result = show("-c", file)
    assert result.code == 0, result.err
    assert f"{folder}/my.toml" in result.out


def test_values_are_shown_as_they_are(show: Any, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[detector]\nclasses = ['[bold]', '[/x]']\n")
    assert line_of("detector.classes", show("-c", "my.toml").out)[1] == "[bold],[/x]"


def test_a_long_path_stays_on_its_line(show: Any, tmp_path: Path) -> None:
    """So that the output can be searched line by line."""
    file = tmp_path / ("long" * 40) / "my.toml"
    file.parent.mkdir()
    file.write_text("[tracker]\nlost_frames = 3\n")
    assert str(file) in line_of("tracker.lost_frames", show("-c", file).out)


@pytest.mark.parametrize(
    ("arguments", "text", "code", "words"),
    [
        (["-c", "my.toml"], "[tracker]\nhigh = 1\n", 2, ["my.toml", "unknown key 'high'"]),
        (["-c", "my.toml"], "[tracker]\nhigh_threshold = 'x'\n", 2, ["my.toml", "found 'x'"]),
        (["-c", "my.toml"], "tracker = 3\n", 2, ["my.toml", "expected a section [tracker]"]),
        (["-c", "my.toml"], "[tracker\n", 1, ["my.toml", "expected TOML"]),
        (["-c", "none.toml"], "", 2, ["none.toml", "cannot be read"]),
        (["-m", "none.onnx"], "", 1, ["none.onnx", "no such file"]),
        (["--jsn"], "", 2, ["--jsn"]),
        (["more"], "", 2, ["more"]),
    ],
)
def test_mistakes(
    show: Any, tmp_path: Path, arguments: list[str], text: str, code: int, words: list[str]
) -> None:
    (tmp_path / "my.toml").write_text(text)
    for flags in ([], ["--json"]):
        result = show(*arguments, *flags)
        assert (result.code, result.out) == (code, "")
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert "(add --debug" not in result.err
        for word in words:
            assert word in result.err


def test_unknown_settings_of_a_bundle(show: Any, tmp_path: Path) -> None:
    model = write_bundle(tmp_path / "wrong", tracker={"high_treshold": 0.3})
    result = show("-m", model)
    assert result.code == 2
    assert f"{model}: model.json" in result.err
    assert "did you mean 'high_threshold'?" in result.err


def test_unknown_variable(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTRAIL_VIDEO_SPEED", "3")
    result = show()
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: environment variable MOTRAIL_VIDEO_SPEED: unknown")
