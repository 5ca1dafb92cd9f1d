"""The formats of a report, and how a user names them."""

from collections.abc import Sequence

from marl_bench.errors import ConfigError, UnknownNameError

FORMATS = ("md", "csv", "json", "latex", "html", "png", "svg")

DEFAULT_FORMATS = ("md", "csv", "html", "png", "svg")
"""What a run and `marl-bench report` write if not told otherwise."""


def parse_formats(given: Sequence[str]) -> tuple[str, ...]:
    """Returns the formats of texts such as `md,csv`, in the order of `FORMATS`; the defaults where none is given.

    Raises:
        UnknownNameError: A format does not exist; the text names the nearest.
        ConfigError: A text names no format.
    """
    if not given:
        return DEFAULT_FORMATS
    names = [name.strip().lower() for text in given for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"report: {given[0]!r} names no format; give some of {', '.join(FORMATS)}, joined by commas.")
    for name in names:
        if name not in FORMATS:
            raise UnknownNameError("report format", name, FORMATS)
    return tuple(name for name in FORMATS if name in names)
