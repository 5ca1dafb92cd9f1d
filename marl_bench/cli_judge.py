"""The verbs of `marl-bench judge`: parse, call one function, print."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

PAIRS_VERB = "pairs"


class JudgeGroup(TyperGroup):
    """Sub-commands, of which `pairs` need not be named: `judge RUN` is `judge pairs RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the name of the usual verb in where the first word names none."""
        if args and args[0] not in self.commands:
            args = [PAIRS_VERB, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=JudgeGroup,
    help="Ask a judge which of two arms' responses is better.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _verbs() -> None:
    pass


@app.command(PAIRS_VERB)
def pairs(runs: list[str] = typer.Argument(..., metavar="RUN...")) -> None:
    """Judge the pairs of one or more finished runs."""
    typer.echo(f"pairs {runs}")
