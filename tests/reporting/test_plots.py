"""Plots: what their titles claim, what they leave out, and that they stay readable and the same byte for byte."""

import dataclasses
import itertools
import math
import re
import xml.etree.ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl_bench.errors import RecordError
from marl_bench.judgements import JudgedPair, Judgement, Verdict
from marl_bench.macro_traces import MACRO_ACTIONS
from marl_bench.records import Cell
from marl_bench.reporting.compare import compare
from marl_bench.reporting.judged import JudgedRates, count_judged
from marl_bench.reporting.plots import length
from marl_bench.reporting.plots.canvas import _svg, compose, plain_style, recoloured
from marl_bench.reporting.plots.credit import _by_position
from marl_bench.reporting.plots.dressing import marked_every, two_lines
from marl_bench.reporting.plots.gallery import _all, draw_plots
from marl_bench.reporting.plots.lines import band
from marl_bench.reporting.plots.macro_lengths import _bin_names, _edges
from marl_bench.reporting.plots.paired import _STEPS, _thinned
from marl_bench.reporting.plots.plot import HEADINGS, LeftOut, Plot, Sketch
from marl_bench.reporting.plots.source import mean_line, plot_source
from marl_bench.reporting.plots.text import in_title, shortened, text_points, wrapped
from marl_bench.reporting.plots.theme import DARK, LIGHT, styles
from marl_bench.run_dir import RunDir, append_jsonl
from marl_bench.sampling_curves import SamplingCurves, SamplingPoint

SCORE = "reward_model_score"
SFT, TOKEN, MACRO = "sft", "token_ppo", "macro_ppo-fixed_n5"
LONG = "macro_ppo:長さ(五)·ядро $x$ & <b>" + "a_rule_of_many_parts(alpha=0.25,beta=[1, 2, 3])" * 4


def _sketches(cells: Sequence[Cell], run_dirs: Sequence[RunDir] = ()) -> dict[str, Sketch | LeftOut]:
    return {found.name: found for found in _all(plot_source(cells, compare(cells), run_dirs))}


def _with_arms(cells: Sequence[Cell], labels: Sequence[str]) -> list[Cell]:
    """Returns the cells and copies of their macro arm's under these labels."""
    copies = []
    for place, label in enumerate(labels):
        for cell in cells:
            if cell.record.arm["name"] == MACRO:
                arm = {**cell.record.arm, "name": f"copy{place}", "label": label}
                copies.append(dataclasses.replace(cell, record=dataclasses.replace(cell.record, arm=arm)))
    return [*cells, *copies]


def _with_lengths(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the cells with macro actions of several lengths in their curves."""
    histogram = {"macro_length_histogram": {"1": 5, "40": 20, "900": 2}}
    return [dataclasses.replace(cell, curve=[{**line, **histogram} for line in cell.curve]) for cell in cells]


def test_every_kind_of_plot_is_drawn_or_left_out_with_a_reason(three_arms: list[Cell]) -> None:
    gallery = draw_plots(three_arms, compare(three_arms), formats=())
    assert [plot.name for plot in gallery.plots] == [
        "differences",
        "differences_oracle",
        "score_by_update",
        "oracle_by_update",
        "score_by_kl",
        "updates_to_parity",
        "paired_differences",
        "score_distributions",
        "length",
        "macro_lengths",
    ]
    assert {found.name: found.reason for found in gallery.left_out} == {
        "best_of_n": "no run has such a sweep; make it with marl-bench best-of-n",
        "temperature_sweep": "no run has such a sweep; make it with marl-bench sweep-temperature",
        "credit_by_position": "no cell has kept the advantages of its macro actions",
    }
    assert {plot.name for plot in gallery.plots} | {found.name for found in gallery.left_out} == set(HEADINGS)


def test_titles_are_sentences_of_the_numbers(three_arms: list[Cell]) -> None:
    titles = {name: found.title for name, found in _sketches(three_arms).items() if isinstance(found, Sketch)}
    # The macro arm is 1.5 above token PPO on the mean of 4 prompts, but over 2 seeds [-4.853, 7.853]; the control is
    # exactly 1 above everywhere: both its intervals are [1, 1].
    assert titles["differences"] == (
        "Reward-model score: token_ppo_matched_lambda:n=5 is better than token_ppo; for 1 arm no difference can be shown"
    )
    # Last updates 4 against 3 in both seeds.
    assert titles["score_by_update"] == "macro_ppo:fixed(n=5) ends above token_ppo in 2 of 2 seeds (training score)"
    assert titles["oracle_by_update"] == "macro_ppo:fixed(n=5) ends above token_ppo in 2 of 2 seeds (oracle)"
    assert titles["score_by_kl"] == (
        "Training score: macro_ppo:fixed(n=5) ends at 4.000 with a KL of 4.000; token_ppo ends at 3.000 with a KL of 4.000"
    )
    # Speed-up 2 in both seeds, so its interval is [2, 2].
    assert titles["updates_to_parity"] == (
        "macro_ppo:fixed(n=5) reaches token_ppo's final training score after 2.0 updates against 4.0 (speed-up 2.00 in each of 2 seeds)"
    )
    assert titles["paired_differences"] == (
        "macro_ppo:fixed(n=5) has a higher reward-model score than token_ppo on 4 of 4 prompts; "
        "no difference of the mean can be shown"
    )
    # 19 of 20 macro actions of each seed have 5 tokens.
    assert titles["macro_lengths"] == "95.0 % of the macro actions of macro_ppo:fixed(n=5) have 5 tokens"


def test_one_seed_claims_nothing_about_others(three_arms: list[Cell]) -> None:
    one = [cell for cell in three_arms if cell.record.seed == 0]
    # The control is 1 above on every prompt; the macro arm 1, 2, 0 and 1, so its interval over prompts reaches 0.
    assert _sketches(one)["differences"].title == (  # type: ignore[union-attr]
        "Reward-model score: token_ppo_matched_lambda:n=5 is better than token_ppo on these prompts, with one seed; "
        "for 1 arm no difference can be shown"
    )


def test_nothing_shown_is_said_so(make_cell: Callable[..., Cell]) -> None:
    cells = [make_cell(TOKEN, seed, {SCORE: [0.0, 1.0]}) for seed in (0, 1)]
    cells += [make_cell(MACRO, seed, {SCORE: [1.0, 0.0]}) for seed in (0, 1)]
    found = _sketches(cells)
    assert found["differences"].title == (  # type: ignore[union-attr]
        "No difference from token_ppo in reward-model score can be shown for macro_ppo:fixed(n=5)"
    )
    assert isinstance(found["score_by_update"], LeftOut)
    assert isinstance(found["updates_to_parity"], LeftOut)


def test_the_dark_theme_is_what_drawing_in_dark_would_give(three_arms: list[Cell]) -> None:
    with plain_style():
        for found in _sketches(three_arms).values():
            if isinstance(found, Sketch):
                light = _svg(compose(found, LIGHT), found)
                dark = _svg(compose(found, DARK), found)
                assert _numbered(recoloured(light, LIGHT, DARK)) == _numbered(dark), found.name


def _numbered(svg: str) -> str:
    """Returns the SVG with its ids, which are hashes of the colours too, numbered."""
    ids = list(dict.fromkeys(re.findall(r' id="([^"]+)"', svg)))
    return re.sub(r'(?<=["#])[A-Za-z][0-9a-f]{10}(?=[")])', lambda found: str(ids.index(found[0])), svg)


def test_a_label_that_is_a_colour_keeps_its_name() -> None:
    assert recoloured('<text style="fill: #0072b2">arm: #0072b2</text>', LIGHT, DARK) == (
        '<text style="fill: #4ea8e8">arm: #0072b2</text>'
    )


def test_svg_is_xml_without_a_clock_with_text_as_text_and_ids_of_its_own(three_arms: list[Cell]) -> None:
    (plot,) = _drawn(three_arms, "differences", ("svg",))
    assert not plot.png
    for text in (plot.svg, plot.dark_svg):
        root = xml.etree.ElementTree.fromstring(text)
        assert root.find("{http://www.w3.org/2000/svg}title").text == plot.title  # type: ignore[union-attr]
        assert "macro_ppo:fixed(n=5)" in "".join(root.itertext())
        assert not re.search(r"matplotlib|\b20\d\d-\d\d-\d\d", text.lower())
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (plot.svg, plot.dark_svg)]
    assert ids[0] and not ids[0] & ids[1]
    for text, own in zip((plot.svg, plot.dark_svg), ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', text)) <= own


def test_only_the_formats_asked_for_are_drawn(three_arms: list[Cell]) -> None:
    (png,) = _drawn(three_arms, "differences", ("png",))
    assert list(png.files(("png", "svg"))) == ["differences.png"]
    (both,) = _drawn(three_arms, "differences", ("png", "svg"))
    assert list(both.files(("svg",))) == ["differences.svg", "differences-dark.svg"]
    assert both.png == png.png


def _drawn(cells: Sequence[Cell], name: str, formats: Sequence[str]) -> list[Plot]:
    from marl_bench.reporting.plots.gallery import _drawn as drawn

    return [drawn(found, formats) for found in _sketches(cells).values() if found.name == name]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "labels", [[LONG, LONG[:-1]], [f"macro_ppo:fixed(n={n})" for n in range(10, 16)]], ids=["long", "many"]
)
def test_title_panels_and_legend_do_not_meet(three_arms: list[Cell], labels: list[str]) -> None:
    cells = _with_lengths(_with_arms([cell for cell in three_arms if cell.record.seed == 0], labels))
    with plain_style():
        for found in _sketches(cells).values():
            if isinstance(found, LeftOut):
                continue
            figure = compose(found, LIGHT)
            heads = [text.get_window_extent() for text in figure.texts[-2:]]
            width, height = figure.bbox.width, figure.bbox.height
            panels = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
            for panel in panels:
                assert panel is not None
                assert panel.x0 >= -1 and panel.x1 <= width + 8, (
                    found.name
                )  # an arrow may reach over the end of an axis
                assert panel.y1 <= min(head.y0 for head in heads) + 1, found.name
                for legend in figure.legends:
                    assert legend.get_window_extent().y1 <= panel.y0 + 1, found.name
            for box in (*heads, *(legend.get_window_extent() for legend in figure.legends)):
                assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, found.name


@pytest.mark.parametrize("updates", [1, 3])
def test_gaps_in_curves_are_left_out(make_cell: Callable[..., Cell], updates: int) -> None:
    def curve(shift: float) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = [
            {"update": update, "score": update + shift, "kl": float(update)} for update in range(1, updates + 1)
        ]
        return [*lines, {"update": updates + 1, "score": None, "kl": math.nan}, {"update": updates + 2, "kl": None}]

    cells = [
        make_cell(arm, 0, {SCORE: [0.0, shift]}, curve=curve(shift)) for arm, shift in ((TOKEN, 0.0), (MACRO, 1.0))
    ]
    source = plot_source(cells, compare(cells))
    xs, ys = source.curves(source.arms[-1], "update", "score")[0]
    assert xs.tolist() == [1.0, 2.0, 3.0][:updates] and ys.tolist() == [2.0, 3.0, 4.0][:updates]
    gallery = draw_plots(cells, compare(cells), formats=("svg",))
    assert {"score_by_update", "score_by_kl", "updates_to_parity"} <= {plot.name for plot in gallery.plots}


def test_mean_line_ends_with_the_shortest_seed() -> None:
    curves = {0: (np.array([1.0, 2, 3]), np.array([1.0, 2, 9])), 1: (np.array([1.0, 2]), np.array([3.0, 6]))}
    xs, mean, ys = mean_line(curves)
    assert xs.tolist() == [1, 2] and mean.tolist() == [2, 4] and ys.tolist() == [[1, 2], [3, 6]]


def test_a_band_is_the_range_of_few_seeds_and_the_interval_of_many() -> None:
    assert band(np.array([[1.0]])) is None
    low, high = band(np.array([[1.0], [4.0], [2.0]]))  # type: ignore[misc]
    assert (low.tolist(), high.tolist()) == ([1.0], [4.0])
    # 1..5: mean 3, deviation sqrt(2.5), t(.975, 4) = 2.7764: 2.7764 * 1.5811 / 2.2361 = 1.9632.
    low, high = band(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]))  # type: ignore[misc]
    assert low[0] == pytest.approx(3 - 1.9632, abs=1e-4) and high[0] == pytest.approx(3 + 1.9632, abs=1e-4)


def test_long_lengths_are_binned_by_powers_of_two() -> None:
    assert _bin_names(_edges(4)) == ["1", "2", "3", "4"]
    assert _bin_names(_edges(30)) == ["1", "2", "3–4", "5–8", "9–16", "17–32"]


def test_many_prompts_are_drawn_as_quantiles() -> None:
    differences = np.random.default_rng(0).permutation(np.arange(1_000_000.0))
    steps = _thinned(differences)
    # The middles of 400 equal parts of 0..999,999: 1250, 3750, ...
    assert steps.size == _STEPS and steps[:2].tolist() == [1250.0, 3750.0]
    assert _thinned(np.array([3.0, 1.0])).tolist() == [1.0, 3.0]


def test_credit_is_the_mean_advantage_of_the_tokens_of_each_tenth(tmp_path: Path) -> None:
    path = tmp_path / MACRO_ACTIONS
    # Ten tokens in two actions of 5: five tenths of 1, five of -1; twenty single tokens: 0, 0, 1, 1, 2, 2 ...
    for tokens, advantages in (
        ([5, 5], [1.0, -1.0]),
        ([1] * 20, [float(token // 2) for token in range(20)]),
        ([3], None),
    ):
        row = {"prompt_id": "p", "sample_index": 0, "starts": [0] * len(tokens), "tokens": tokens}
        append_jsonl(path, row | {"advantages": advantages})
    xs, ys = _by_position(path)  # type: ignore[misc]
    assert xs.tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert ys.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_damaged_macro_actions_are_named(
    tmp_path: Path, three_arms: list[Cell], write_cells: Callable[[Path, Sequence[Cell]], RunDir]
) -> None:
    run_dir = write_cells(tmp_path / "run", three_arms)
    append_jsonl(run_dir.cell(MACRO, 1) / MACRO_ACTIONS, {"prompt_id": "p0", "tokens": 3})
    with pytest.raises(RecordError, match=r"macro_actions.jsonl, line 1: no macro actions"):
        draw_plots(three_arms, compare(three_arms), run_dirs=[run_dir], formats=())


def test_sweeps_and_credit_are_drawn_from_their_files(
    tmp_path: Path, three_arms: list[Cell], write_cells: Callable[[Path, Sequence[Cell]], RunDir]
) -> None:
    from marl_bench.reporting.sampling_tables import write_curves

    run_dir = write_cells(tmp_path / "run", three_arms)
    for kind, xs in (("best_of_n", (1.0, 2.0, 4.0)), ("temperature", (0.2, 1.0))):
        points = [
            SamplingPoint(arm=SFT, label=SFT, x=x, metric=metric, mean=x, low=x - 1, high=x + 1)
            for metric in (SCORE, "oracle")
            for x in xs
        ]
        chosen = SCORE if kind == "best_of_n" else ""
        names = {field.name for field in dataclasses.fields(SamplingCurves)}
        known = {"kind": kind, "chosen_by": chosen, "score": SCORE, "prompts": 4, "samples_per_prompt": 4, "seeds": [0]}
        curves = SamplingCurves(**{name: value for name, value in known.items() if name in names}, points=points)
        write_curves(run_dir.root, curves)
    row = {"prompt_id": "p0", "sample_index": 0, "starts": [0] * 10, "tokens": [1] * 10, "advantages": [0.5] * 10}
    append_jsonl(run_dir.cell(MACRO, 0) / MACRO_ACTIONS, row)
    found = _sketches(three_arms, [run_dir])
    for name in ("best_of_n", "temperature_sweep", "credit_by_position"):
        sketch = found[name]
        assert isinstance(sketch, Sketch)
        with plain_style():
            compose(sketch, LIGHT)
    assert "1.000 at 1, 2.000 at 2, 4.000 at 4" in found["best_of_n"].alt  # type: ignore[union-attr]
    assert "+0.500 to +0.500 in macro_ppo:fixed(n=5)" in found["credit_by_position"].title  # type: ignore[union-attr]


def test_the_win_rates_of_a_judge_go_before_those_of_the_oracle(three_arms: list[Cell]) -> None:
    alt = _sketches(three_arms)["length"].alt  # type: ignore[union-attr]
    assert "Win rate against sft, by oracle" in alt


def test_the_judge_with_most_pairs_is_drawn_beside_length(three_arms: list[Cell]) -> None:
    """Two labels of a person do not stand for a judge that read four pairs, whichever name comes first."""

    def judged(judge: str, prompts: int) -> JudgedRates:
        pairs = [
            JudgedPair(f"p{place}", "", MACRO, SFT, 0, 0, 5, 5, [Verdict("arm_first", "ok", "arm")])
            for place in range(prompts)
        ]
        labels = {MACRO: "macro_ppo:fixed(n=5)"}
        return count_judged(judge, Judgement(judge, [], "standard", "single", 0), pairs, labels=labels)

    comparison = dataclasses.replace(compare(three_arms), judged=[judged("labels:anna", 2), judged("openai:m", 4)])
    source = plot_source(three_arms, comparison, [])
    (drawn,) = [found for found in length.sketches(source) if isinstance(found, Sketch)]
    assert "Win rate against sft, by openai:m" in drawn.alt


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_colours_stand_out_from_the_background(theme: Any) -> None:
    def contrast(colour: str) -> float:
        bright, dim = sorted((_luminance(colour), _luminance(theme.background)), reverse=True)
        return (bright + 0.05) / (dim + 0.05)

    assert contrast(theme.text) >= 7 and contrast(theme.muted) >= 4.5  # WCAG AAA and AA for text
    assert min(map(contrast, theme.arms)) >= 2.2  # Okabe-Ito's sky blue and orange on white; lines have markers, too
    # The dark theme is a replacement of colours in the light one.
    assert len(set(theme.colours())) == len(theme.colours())
    assert "#000000" not in theme.colours()


def test_arms_differ_in_black_and_white(three_arms: list[Cell]) -> None:
    arms = [found.arm for found in compare(_with_arms(three_arms, [f"a{n}" for n in range(20)])).arms]
    found = styles(arms)
    looks = [(str(style.line), style.marker) for style in found.values()]
    assert len(set(looks)) == len(looks) == 24
    colours = [found[arm.name].colour for arm in arms if arm.role in ("start", "token")]
    assert [LIGHT.arms[place] for place in colours] == ["#4d4d4d", "#d55e00"]
    for first, second in itertools.pairwise(list(found.values())[:7]):
        assert first.colour != second.colour


def test_texts_fit_the_width_they_are_given() -> None:
    with plain_style():
        _check_widths()
    assert in_title("a" * 30 + "b" * 30) == "a" * 20 + "…" + "b" * 20


def _check_widths() -> None:
    for label in (LONG, "x" * 300, "короткий", "macro_ppo:fixed(n=5)"):
        assert text_points(shortened(label, 9, width=150), 9) <= 150
        lines = two_lines(label, 9, width=150).split("\n")
        assert len(lines) <= 2 and all(text_points(line, 9) <= 150 for line in lines)
    assert shortened("short", 9, width=150) == "short"
    assert "".join(wrapped("x" * 300, 9, width=100)) == "x" * 300
    assert wrapped("a share of 95 %", 9, width=text_points("a share of 95", 9)) == ["a share of", "95 %"]


def test_the_last_point_of_a_line_has_a_marker() -> None:
    assert marked_every(1) == [0]
    assert marked_every(100)[-1] == 99 and len(marked_every(100)) <= 9
