"""What all tests share: the footage, and a table of what was proven."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

_FOOTAGE = Path(
    os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
)
_rows: list[tuple[str, str, str]] = []

Prove = Callable[[str, str, object], None]


# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every process
# that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real footage, labels and models; tests that need it are skipped without."""
    if not _FOOTAGE.is_dir():
        pytest.skip(f"no footage at {_FOOTAGE}; set MOTRAIL_TEST_DATA")
    return _FOOTAGE.resolve()


@pytest.fixture
def prove() -> Prove:
    """Note what was asked for and what was measured; shown at the end of the run."""

    def note(what: str, asked: str, measured: object) -> None:
        _rows.append((what, asked, str(measured)))

    return note


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MOTRAIL_") and name != "MOTRAIL_TEST_DATA":
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full-size checks run only when asked for by `-m proof`."""
    if config.option.markexpr:
        return
    kept = [item for item in items if item.get_closest_marker("proof") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _FOOTAGE.is_dir():
        terminalreporter.write_line(
            f"SKIPPED the tests on real footage: nothing at {_FOOTAGE} (MOTRAIL_TEST_DATA)"
        )
    if _rows:
        terminalreporter.section("proven")
        width = max(len(row[0]) for row in _rows)
        for what, asked, measured in _rows:
            terminalreporter.write_line(f"{what:<{width}}  asked {asked:<24} measured {measured}")
