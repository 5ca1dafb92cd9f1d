"""From a sketch to files: title, legend, layout, and the same bytes every time."""

import contextlib
import html
import io
import re
import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from marl_bench.reporting.plots.plot import WIDTH_INCHES, Plot, Sketch
from marl_bench.reporting.plots.text import balanced, wrapped
from marl_bench.reporting.plots.theme import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

_DPI = 130
_POINTS_PER_INCH = 72
_MARGIN = 0.12
_TITLE_POINTS, _SUBTITLE_POINTS, _LEGEND_POINTS = 12.0, 8.5, 9.0
_LINE_SPACING = 1.25

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    # Verdana has almost the widths of DejaVu, which the layout is measured with, and stands on most machines.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9.0,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a label with two dollar signs is no formula
    "axes.unicode_minus": True,
    # Text in an SVG stays text: a third of the size of outlines, can be searched and read aloud, and the reader's fonts
    # know every script.
    "svg.fonttype": "none",
    "path.simplify": True,
}


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """Gives matplotlib this package's style, whatever the user's matplotlibrc says, and then gives back the user's."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # The font of the PNG does not know every script; it shows a box, the SVG the character.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def render(sketch: Sketch, formats: Collection[str]) -> Plot:
    """Returns the plot with what was asked for of `png` and `svg`; to be called within `plain_style`."""
    plot = Plot(sketch.name, sketch.title, sketch.caption, sketch.alt)
    if not {"png", "svg"} & set(formats):
        return plot
    figure = compose(sketch, LIGHT)
    light = _svg(figure, sketch) if "svg" in formats else ""
    return Plot(
        name=sketch.name,
        title=sketch.title,
        caption=sketch.caption,
        alt=sketch.alt,
        svg=_with_ids(light, "l"),
        dark_svg=_with_ids(recoloured(light, LIGHT, DARK), "d"),
        png=png(figure) if "png" in formats else b"",
    )


def compose(sketch: Sketch, theme: Theme) -> "Figure":
    """Returns the finished figure: title and subtitle above, the panels, one legend of all panels below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(WIDTH_INCHES, sketch.height), dpi=_DPI, facecolor=theme.background)
    FigureCanvasAgg(figure)  # no pyplot: no global figures, no display
    sketch.draw(figure, theme)
    title = balanced(sketch.title, _TITLE_POINTS, width=_text_width(), bold=True)
    subtitle = wrapped(sketch.subtitle, _SUBTITLE_POINTS, width=_text_width())
    title_height = len(title) * _TITLE_POINTS * _LINE_SPACING / _POINTS_PER_INCH
    head = _MARGIN + title_height + len(subtitle) * _SUBTITLE_POINTS * _LINE_SPACING / _POINTS_PER_INCH + 0.1
    legend = _legend(figure, theme)
    foot = legend.get_window_extent().height / _DPI + _MARGIN if legend else 0.06
    height = sketch.height + head + foot
    figure.set_size_inches(WIDTH_INCHES, height)
    left, top = _MARGIN / WIDTH_INCHES, 1 - _MARGIN / height
    style: dict[str, Any] = {"va": "top", "ha": "left", "linespacing": _LINE_SPACING}
    figure.text(left, top, "\n".join(title), size=_TITLE_POINTS, weight="bold", color=theme.text, **style)
    figure.text(
        left, top - title_height / height, "\n".join(subtitle), size=_SUBTITLE_POINTS, color=theme.muted, **style
    )
    engine = ConstrainedLayoutEngine(rect=(0, foot / height, 1, (height - head - foot) / height))
    # Once, and not again for each format: their resolutions would move it by fractions of a pixel.
    engine.execute(figure)
    return figure


def png(figure: "Figure") -> bytes:
    """Returns the figure as PNG without matplotlib's version in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None}, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def recoloured(svg: str, old: Theme, new: Theme) -> str:
    """Returns the SVG in the colours of another theme, a twentieth of the work of drawing it again."""
    colours = dict(zip(old.colours(), new.colours(), strict=True))

    def in_tag(tag: re.Match[str]) -> str:
        # In tags only: a label may be a colour's name.
        return re.sub(r"#[0-9a-f]{6}\b", lambda found: colours.get(found[0], found[0]), tag[0])

    return re.sub(r"<[^>]*>", in_tag, svg)


def _text_width() -> float:
    return (WIDTH_INCHES - 4 * _MARGIN) * _POINTS_PER_INCH


def _legend(figure: "Figure", theme: Theme) -> "Legend | None":
    found: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return None
    legend = None
    for columns in range(min(4, len(found)), 0, -1):
        if legend is not None:
            legend.remove()
        legend = figure.legend(
            handles=list(found.values()),
            labels=list(found),
            loc="lower left",
            bbox_to_anchor=(0, 0),
            ncols=columns,
            fontsize=_LEGEND_POINTS,
            frameon=False,
            labelcolor=theme.text,
            handlelength=3.2,
            borderaxespad=0.3,
        )
        legend.set_in_layout(False)
        if legend.get_window_extent().width <= WIDTH_INCHES * _DPI:
            break
    return legend


def _svg(figure: "Figure", sketch: Sketch) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": sketch.name}):
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            facecolor=figure.get_facecolor(),
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # without XML declaration and DOCTYPE it can stand inside a page, too
    title = f"<title>{html.escape(sketch.title)}</title>\n<desc>{html.escape(sketch.alt)}</desc>\n"
    text = text.replace("<defs>", f"{title}<defs>", 1).replace("<svg ", '<svg role="img" ', 1)
    # Groups are numbered from 1 in each plot, so that two plots in one page would share ids; nothing refers to them.
    text = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", text)
    text = re.sub(r"\n\s*", "\n", text)
    # A hundredth of a point is no visible distance, and the six digits are half of the file.
    return re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)


def _with_ids(svg: str, theme: str) -> str:
    """Returns the SVG with ids that no other plot of the page has, the same plot in the other theme included."""
    return re.sub(r'(id="|url\(#|href="#)(?=[a-zA-Z])', rf"\g<1>{theme}", svg)
