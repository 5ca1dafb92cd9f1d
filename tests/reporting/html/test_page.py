"""The page as text: sortable values, offsets, data blocks, bounds, colours; no browser needed."""

import base64
import importlib.resources
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from marl_bench.errors import RecordError
from marl_bench.reporting.compare import compare
from marl_bench.reporting.html.blocks import data_block, inert_json
from marl_bench.reporting.html.markup import anchors, breakable, section_html, sort_value, table_html
from marl_bench.reporting.html.samples import cells_of, index_samples
from marl_bench.reporting.html.texts import AdvantageScale
from marl_bench.reporting.html.utf16 import utf16_offsets
from marl_bench.reporting.sections import NamedTable, Section
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import SAMPLES, read_cells


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("-0.762 ± 0.090", -0.762),
        ("+0.396", 0.396),
        ("69,284 (72,742, 65,825)", 69284.0),
        ("[-0.825, -0.697]", -0.825),
        ("12.5 %", 12.5),
        ("134 / 20 / 102", 134.0),
        ("1.48 ×", 1.48),
        ("< 0.001", 0.000999),
        ("0 of 256", 0.0),
        ("–", None),
        ("unknown", None),
    ],
)
def test_a_cell_is_sorted_by_its_first_number(cell: str, value: float | None) -> None:
    assert sort_value(cell) == (value if value is None else pytest.approx(value))


def test_cells_are_escaped_and_negative_numbers_get_a_minus_sign() -> None:
    found = table_html(Table("T <i>", ["Arm", "<b>"], [["a<script>", "-1.5 [-2.0, 3-4]"]]))
    assert "<i>" not in found
    assert "a&lt;script&gt;" in found
    assert '<td class="number" data-value="-1.5">−1.5 [−2.0, 3-4]</td>' in found


def test_two_headings_of_one_name_have_two_ids() -> None:
    """Two runs with a sweep each: both are reached from the list."""
    assert anchors(["Best of N", "Costs", "Best of N"], kind="table-") == [
        "table-best-of-n",
        "table-costs",
        "table-best-of-n-2",
    ]


def test_what_a_judge_is_told_by_stands_under_its_table() -> None:
    table = Table("Win rates by j", ["Arm", "Rate"], [["a", "50 %"]], note="From -1 to 1.")
    found = section_html(
        Section(table.title, [NamedTable("w", table)], ["31 <unscored>"], ["Before."], ["Judge `j`, -2 points."]), "id"
    )
    order = ["31 &lt;unscored&gt;", "<li>Before.</li>", "<table", "From −1 to 1.", "Judge <code>j</code>, −2 points."]
    assert [found.index(part) for part in order] == sorted(found.index(part) for part in order)
    assert "<h4>" not in found  # the table's title is the section's


def test_only_long_names_may_break() -> None:
    assert breakable("token_ppo") == "token_ppo"
    assert breakable("macro_ppo:fixed(n=5)") == "macro_<wbr>ppo:<wbr>fixed(n=5)"


@pytest.mark.parametrize(
    ("text", "offsets", "expected"),
    [
        ("plain", [0, 2, 5], [0, 2, 5]),
        ("a🚀b", [0, 1, 2, 3], [0, 1, 3, 4]),  # the rocket is two units
        ("𠮷野🍜", [0, 1, 2, 3], [0, 2, 3, 5]),
        ("é", [0, 1, 9], [0, 1, 1]),
        ("", [0], [0]),
    ],
)
def test_offsets_in_characters_become_offsets_in_utf16_units(
    text: str, offsets: list[int], expected: list[int]
) -> None:
    assert utf16_offsets(text, offsets) == expected


def test_json_in_the_page_cannot_end_its_element() -> None:
    data = {"text": "</script><!-- \u2028 \ud800 é 🚀"}
    text = inert_json(data)
    assert "<" not in text
    assert json.loads(text) == data
    text.encode()  # half a surrogate pair would not go into a file


def test_compressed_blocks_hold_the_same_data() -> None:
    block = data_block("x", {"a": ["ü"] * 50}, compress=True)
    (packed,) = re.findall(r'<script type="application/octet-stream" id="x">(.*)</script>', block)
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == {"a": ["ü"] * 50}


def test_the_colour_scale_holds_95_of_100_advantages() -> None:
    scale = AdvantageScale()
    assert scale.limit is None
    scale.add([1.0] * 95 + [-50.0] * 5 + [0.0] * 1000)
    assert scale.limit == 1.0
    scale.add([-50.0])  # 95 of 101 are less than 95 %
    assert scale.limit == pytest.approx(50.0, rel=0.13)


def test_the_same_records_give_the_same_bytes_without_paths(odd_run: Any, tmp_path: Path) -> None:
    first, second = odd_run.page(tmp_path / "a").read_bytes(), odd_run.page(tmp_path / "b").read_bytes()
    assert first == second
    assert str(tmp_path.parent).encode() not in first


def test_texts_of_a_prompt_stand_once_however_many_arms_share_them(odd_page: Path) -> None:
    assert odd_page.read_text().count('"the same"') == 1


def test_nothing_in_the_page_points_elsewhere(odd_page: Path) -> None:
    page = odd_page.read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("#", "data:")) for source in sources)
    assert "default-src 'none'" in page
    assert page.count("<script") == page.count("</script>")


def test_a_page_of_few_rows_says_what_it_leaves_out(odd_run: Any, tmp_path: Path) -> None:
    page = odd_run.page(tmp_path, rows=2).read_text()
    assert "The first 2 samples, each with the responses of all arms and seeds. 4 more are in the tables" in page
    assert "Zebra stripes" not in page


def test_reading_stops_when_all_rows_are_found(odd_run: Any) -> None:
    cells = cells_of([odd_run.run], compare(read_cells(odd_run.run)))
    found = index_samples(cells, limit=4)
    assert list(found.rows) == [("p0", 0), ("p1", 0), ("p2", 0), ("p3", 0)]
    assert found.left_out == 2
    assert [len(index.lines) for index in found.cells] == [4] * 6


def test_a_damaged_line_is_named(tmp_path: Path, make_cell: Any, write_cells: Any) -> None:
    run = write_cells(tmp_path / "run", [make_cell("sft", 0, {"reward_model_score": [1.0, 2.0]})])
    comparison = compare(read_cells(run))
    path = run.cell("sft", 0) / SAMPLES
    path.write_text(path.read_text().splitlines()[0] + "\n{broken\n")
    with pytest.raises(RecordError, match=r"samples\.jsonl, line 2: not JSON"):
        index_samples(cells_of([run], comparison), limit=10)


def _colours(style: str, start: str) -> dict[str, tuple[float, ...]]:
    block = style.split(start, 1)[1].split("}", 1)[0]
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{6});", block)
    return {name: tuple(int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)) for name, code in found}


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("start", [":root {", ':root:not([data-theme="light"]) {', ':root[data-theme="dark"] {'])
def test_every_text_has_a_contrast_of_at_least_4_5(start: str) -> None:
    style = (importlib.resources.files("marl_bench.reporting.html") / "assets" / "report.css").read_text()
    colours = _colours(style, start)
    for text in ("text", "muted", "accent", "win", "loss"):
        for ground in ("page", "surface", "sunk", "selected"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    # The strongest tints, 56 % of the colour over the surface, under running text.
    for tint in ("positive", "negative"):
        mixed = tuple(0.56 * a + 0.44 * b for a, b in zip(colours[tint], colours["surface"], strict=True))
        assert _contrast(colours["text"], mixed) >= 4.5, tint
