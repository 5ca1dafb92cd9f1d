"""The options that say what a judge is asked: the same for asking at once and for batch jobs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.", show_default=False)]
Pairs = Annotated[int, typer.Option(metavar="N", min=1, help="At most N pairs of each comparison.")]
Order = Annotated[
    Literal["both", "single"], typer.Option(help="Ask each pair in both orders, or in one that the pair decides.")
]
Protocol = Annotated[
    Literal["standard", "official"],
    typer.Option(help="official: 50 pairs of each comparison in one random order, as published; ±14 points."),
]
Arms = Annotated[list[str] | None, typer.Option(metavar="ARM", help="Judge this arm (repeatable).  [default: all]")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the choice of pairs and of single orders.")]
Temperature = Annotated[float, typer.Option(metavar="T", min=0, help="Temperature of the judge.")]
MaxTokens = Annotated[int, typer.Option(metavar="N", help="Limit of an answer, reasoning included.")]
Prompts = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file with judge prompts.  [default: the task's own]")
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Folder under RUN/judgements.  [default: the model]")]
Cache = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Stored answers.  [default: RUN/judgements/answers.sqlite]")
]
Price = Annotated[
    str | None,
    typer.Option(metavar="IN,OUT", help="US dollars per million tokens, without discount.  [default: a price table]"),
]
