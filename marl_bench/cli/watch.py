"""The verb `marl-bench watch`: read, print, again."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)],
    metric: Annotated[
        str, typer.Option(metavar="NAME,...", help="Figures of metrics.jsonl to draw, separated by commas.")
    ] = "score,kl",
    once: Annotated[
        bool, typer.Option("--once", help="Print the state as text and end; without a terminal always so.")
    ] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Time between two looks.")] = 5.0,
) -> None:
    """Show the curves of a running or finished run in the terminal; reads its files only and leaves on q or Ctrl-C."""
    from marl_bench.watching.state import read_state
    from marl_bench.watching.view import as_text

    metrics = [name for part in metric.split(",") if (name := part.strip())]
    if once or not sys.stdout.isatty():
        typer.echo(as_text(read_state(run), metrics))
        return
    _live(run, metrics, every=every)


def _live(run: Path, metrics: list[str], *, every: float) -> None:
    """Redraws until the run is finished or the user leaves; the last view stays on the screen."""
    from rich.console import Console
    from rich.live import Live

    from marl_bench.watching.state import read_state
    from marl_bench.watching.view import for_terminal

    state = read_state(run)
    view = for_terminal(state, metrics)  # errors are told before the screen changes
    with (
        contextlib.suppress(KeyboardInterrupt),
        _leave_key() as leave_within,
        Live(view, console=Console(), auto_refresh=False, vertical_overflow="visible") as live,
    ):
        while not state.finished and not leave_within(every):
            state = read_state(run)
            live.update(for_terminal(state, metrics), refresh=True)


@contextlib.contextmanager
def _leave_key() -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits so many seconds and returns True as soon as q is pressed; where keys cannot be read it only waits."""
    try:
        import select
        import termios
        import tty

        settings = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError):  # Windows, or no terminal to read from

        def only_wait(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield only_wait
        return

    def pressed(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left)[0] and sys.stdin.read(1) in ("q", "Q", ""):
                return True
        return False

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)
