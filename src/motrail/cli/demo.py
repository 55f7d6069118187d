"""`motrail demo`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from motrail.cli.interrupts import interrupts
from motrail.cli.output import AsJson, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from motrail.demo.run import Demonstration, Done
    from motrail.demo.steps import Step

_PORT = 8765


def demo_command(
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("demo"),
    quick: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """See the whole life of a tracker on synthetic football, from footage to a server.

    Footage is made, labelled, learned from and tracked; the tracks are scored and measured,
    served, and rehearsed for Amazon SageMaker. Every step prints the command lines that it
    consists of, which work by themselves, too. At the end there is a page to look at. On two
    processor cores it takes some five minutes, with --quick less than two. Given again, it goes on
    where it stopped.

    Parameters
    ----------
    output
        Folder for everything.
    quick
        Less footage and training: to see that it works, not how well.
    as_json
        Print the steps with their times as one JSON document.
    """
    from motrail.demo.page import write_page
    from motrail.demo.run import Demonstration, free_port
    from motrail.demo.steps import FULL, QUICK, steps_of

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    demonstration = Demonstration(output)
    steps = steps_of(str(output), QUICK if quick else FULL, free_port(_PORT))
    start = time.monotonic()
    done = [
        _do(demonstration, step, f"{number} of {len(steps)}", console)
        for number, step in enumerate(steps, 1)
    ]
    page = write_page(output, done)
    if as_json:
        print_json(
            {
                "steps": [{"step": d.step.name, "seconds": round(d.seconds, 1)} for d in done],
                "page": str(page),
            }
        )
        return 0
    _end(done, page, time.monotonic() - start, output)
    return 0


def _do(demonstration: Demonstration, step: Step, count: str, console: Console) -> Done:
    """Do a step with its command lines shown, and what they print last beneath."""
    console.print(f"[bold]{escape(step.title)}[/bold]  [dim]{count}[/dim]")
    with _shown(console) as tell:
        done = demonstration.do(step, tell)
    if not done.anew:
        console.print("  [dim]done before[/dim]")
    else:
        console.print(f"  [dim]{done.seconds:.1f} s[/dim]")
    return done


@contextlib.contextmanager
def _shown(console: Console) -> Iterator[Callable[[str, str], None]]:
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console.status("")) if console.is_terminal else None

        def tell(kind: str, text: str) -> None:
            interrupts.check()
            if kind == "command":
                console.print(f"  $ {text}", markup=False)
            if status is not None:
                status.update(f"[dim]{escape(text[: console.width - 4])}[/dim]")

        yield tell


def _end(done: Sequence[Done], page: Path, seconds: float, output: Path) -> None:
    width = max(len(d.step.name) for d in done)
    for d in done:
        print(f"{d.step.name:<{width}}  {d.seconds:6.1f} s{'' if d.anew else '  (before)'}")
    print(f"{'now':<{width}}  {seconds:6.1f} s")
    print(f"\nopen {page}")
    others = [output / "evaluation.html", output / "analysis" / "report.html", output / "tracks"]
    print(f"then look at {', '.join(map(str, others))}")
    print("on your own video: motrail label VIDEO -o data, then motrail train data")
