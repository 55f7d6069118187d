"""The demonstration: its steps, going on, and what it says when one fails."""

from __future__ import annotations

import json
import shlex
import socket
from typing import TYPE_CHECKING

import pytest

from motrail.demo.run import Demonstration, free_port
from motrail.demo.steps import MATCH, QUICK, Step, steps_of
from motrail.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path


def python(code: str) -> str:
    return f"python -c {shlex.quote(code)}"


def silent(_kind: str, _text: str) -> None:
    """Nobody looks."""


def test_steps_are_done_in_order_and_not_again(tmp_path: Path) -> None:
    made = tmp_path / "demo" / "made"
    step = Step("one", "One", "", (python(f"open({str(made)!r}, 'a').write('x')"),), ("made",))
    told: list[tuple[str, str]] = []
    first = Demonstration(tmp_path / "demo").do(step, lambda *what: told.append(what))
    again = Demonstration(tmp_path / "demo").do(step, silent)
    assert (first.anew, again.anew) == (True, False)
    assert made.read_text() == "x"
    assert told == [("command", step.lines[0])]


def test_a_step_with_other_lines_is_done_anew_and_so_is_what_follows(tmp_path: Path) -> None:
    def steps(letter: str) -> tuple[Step, Step]:
        one = f"open({str(tmp_path / 'demo' / 'one')!r}, 'a').write({letter!r})"
        two = f"open({str(tmp_path / 'demo' / 'two')!r}, 'a').write('y')"
        return (
            Step("one", "", "", (python(one),), ("one",)),
            Step("two", "", "", (python(two),), ("two",)),
        )

    for letter in "ab":
        demonstration = Demonstration(tmp_path / "demo")
        done = [demonstration.do(step, silent).anew for step in steps(letter)]
        assert done == [True, True]
    assert (tmp_path / "demo" / "one").read_text() == "b"
    assert (tmp_path / "demo" / "two").read_text() == "y"


def test_what_is_missing_is_made_again(tmp_path: Path) -> None:
    made = tmp_path / "demo" / "made"
    step = Step("one", "", "", (python(f"open({str(made)!r}, 'a').write('x')"),), ("made",))
    Demonstration(tmp_path / "demo").do(step, silent)
    made.unlink()
    assert Demonstration(tmp_path / "demo").do(step, silent).anew
    assert made.read_text() == "x"


def test_output_is_kept_where_the_line_says(tmp_path: Path) -> None:
    kept = tmp_path / "demo" / "kept it.txt"
    code = "import sys; print('grün'); print('not this', file=sys.stderr)"
    step = Step("one", "", "", (f"{python(code)} > {shlex.quote(str(kept))}",), ("kept it.txt",))
    Demonstration(tmp_path / "demo").do(step, silent)
    assert kept.read_text(encoding="utf-8") == "grün\n"
    assert "not this" in (tmp_path / "demo" / "logs" / "one.txt").read_text()


def test_a_command_that_fails_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    step = Step("one", "", "", (python("raise SystemExit('no more')"), python("1")))
    with pytest.raises(DataError) as error:
        Demonstration(tmp_path / "demo").do(step, silent)
    log = tmp_path / "demo" / "logs" / "one.txt"
    line = step.lines[0]
    assert str(error.value) == f"exit code 1, see {log}: {line}\n$ {line}\nno more"
    assert json.loads((tmp_path / "demo" / "steps.json").read_text()) == {}


def test_a_server_runs_while_the_others_do_and_ends_after(tmp_path: Path) -> None:
    port = free_port(0)
    server = f"python {tmp_path / 'server.py'} --port {port}"
    (tmp_path / "server.py").write_text(
        "import http.server, sys\n"
        "class Ping(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[2])), Ping).serve_forever()\n"
    )
    ask = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/x')"
    step = Step("one", "", "", (python(ask),), server=server)
    Demonstration(tmp_path / "demo").do(step, silent)
    with socket.socket() as found:
        assert found.connect_ex(("127.0.0.1", port)) != 0


def test_a_server_that_ends_is_an_error(tmp_path: Path) -> None:
    step = Step("one", "", "", (), server="python -c 1 --port 1")
    with pytest.raises(DataError, match=r"the server did not begin to answer; see .*one\.txt"):
        Demonstration(tmp_path / "demo").do(step, silent)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(ConfigError, match="holds something that is no demonstration"):
        Demonstration(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_remembered_must_be_ours(tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text('{"one": 3}')
    with pytest.raises(ConfigError, match=r"steps\.json: cannot be read; remove the folder"):
        Demonstration(tmp_path)


def test_a_taken_port_gives_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) not in {0, port}


def test_every_line_is_a_command_there_is() -> None:
    for step in steps_of("a folder", QUICK, 8765):
        for line in (*step.lines, *([step.server] if step.server else [])):
            words = shlex.split(line)
            assert words[0] in {"motrail", "python"}
            assert any("a folder/" in word for word in words)
            assert words.count(">") <= 1


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_the_whole_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from motrail.cli.demo import demo_command

    assert demo_command(quick=True) == 0
    demo = tmp_path / "demo"
    for name in ("remote", "job", "endpoint"):
        assert (demo / name / f"{MATCH}.txt").read_bytes() == (
            demo / "tracks" / f"{MATCH}.txt"
        ).read_bytes(), name
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "data:video/mp4;base64" in page
    assert page.count("byte for byte") == 3
