"""The verbs of `marl-bench reference`: parse, call one function, print."""

import typer

app = typer.Typer(
    help="Named reference results, and tests of new runs against them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _verbs() -> None:
    pass
