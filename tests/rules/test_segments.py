"""Rules side by side on real responses, in three looks."""

import html.parser
import re

import pytest

from marl_bench.errors import ConfigError, RecordError, UnknownNameError
from marl_bench.planning import plan_rule
from marl_bench.rules.rendering import as_html, as_text, for_terminal
from marl_bench.rules.segments import CutResponse, SegmentView, view_run, view_texts
from marl_bench.run_dir import RunDir, read_cells

RULES = ("fixed(n=3)", "sentence", "perplexity(rule=token)", "entropy", "value_change", "vocabulary(k=8)", "whole")
TEXT = "It <b>rains</b> | here.\nI stay & read 😀."


@pytest.fixture(scope="module")
def rules(registry):
    return [plan_rule(text, registry) for text in RULES]


@pytest.fixture(scope="module")
def view(registry, rules):
    return view_texts([TEXT, "x"], rules, registry)


def test_the_pieces_of_every_rule_are_the_text(view):
    for response, text in zip(view.responses, (TEXT, "x"), strict=True):
        for pieces in response.pieces.values():
            assert "".join(pieces) == f"{text}<|eos|>"
    assert view.responses[0].pieces["sentence"] == ["It <b>rains</b> | here.\n", "I stay & read 😀.<|eos|>"]


def test_lengths_are_counted_in_tokens(view):
    rows = {row[0]: row[1:] for row in view.lengths.rows}
    tokens = sum(len(view.responses[row].pieces["fixed(n=3)"]) for row in (0, 1))
    assert rows["fixed(n=3)"][0] == str(tokens)
    assert rows["whole"][0] == "2"
    assert rows["fixed(n=3)"][4] == "3"  # the longest


def test_the_notes_say_where_numbers_come_from(view, registry):
    notes = " ".join(view.notes)
    assert "shipped tiny base model" in notes
    assert "log-probs of the shipped tiny base model" in notes
    assert "all values are 0" in notes
    assert "fitted to these texts alone" in notes
    assert len(view_texts(["x"], [plan_rule("fixed", registry)], registry).notes) == 1


def test_plain_text_has_a_line_a_response_and_rule_with_separators(view):
    lines = as_text(view).splitlines()
    assert "text 1\tsentence\tIt <b>rains</b> \\| here.⏎|I stay & read 😀.<\\|eos\\|>" in lines
    assert sum(line.startswith("text ") for line in lines) == 2 * len(RULES)
    assert any(line.startswith("Macro lengths in tokens | rule: whole | macro actions: 2") for line in lines)


class _Page(html.parser.HTMLParser):
    """Collects the text of the cut cells and all tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._inside = ("class", "cut") in attributes or (self._inside and tag == "span")
        if ("class", "cut") in attributes:
            self.cells.append("")

    def handle_data(self, data):
        if self._inside:
            self.cells[-1] += data


def test_the_page_is_self_contained_and_escaped(view):
    page = as_html(view)
    parsed = _Page(page)
    assert parsed.cells[0] == TEXT.replace("\n", "⏎") + "<|eos|>"
    assert not {"b", "script", "link", "img"} & set(parsed.tags)
    assert "http" not in page
    assert page == as_html(view)


def test_colours_alternate_and_many_rules_stand_below_one_another(view):
    from rich.console import Console

    console = Console(width=500, force_terminal=True, color_system="truecolor", file=None)
    with console.capture() as capture:
        console.print(for_terminal(view, width=500))
    wide = capture.get()
    backgrounds = set(re.findall(r"48;2;[0-9;]+", wide))
    assert len(backgrounds) == 2
    narrow = Console(width=80)
    with narrow.capture() as capture:
        narrow.print(for_terminal(view, width=80))
    assert "Rule" in capture.get() and "Cut" in capture.get()


def test_macro_actions_without_characters_are_visible():
    empty = SegmentView(["r"], [CutResponse("a", {"r": ["x", "", "😀"]})], view_lengths(), [])
    assert "a\tr\tx|∅|😀" in as_text(empty)


def view_lengths():
    from marl_bench.rules.segments import length_table

    return length_table({})


def test_stored_samples_of_a_run_are_cut(finished_run, registry, rules):
    view = view_run(finished_run, rules, registry, limit=3, arm=None)
    [cell] = [each for each in read_cells(RunDir(finished_run)) if each.record.arm["role"] == "macro"]
    assert len(view.responses) == 3
    for response, sample in zip(view.responses, cell.samples, strict=False):
        assert "".join(response.pieces["whole"]).removesuffix("<|eos|>") == sample.response.text
        assert len(response.pieces["whole"]) == 1
    assert "cell macro_ppo-fixed_n5-seed0" in view.notes[0]
    assert "critic as it was at the end of training" in view.notes[1]
    other = view_run(finished_run, rules[:1], registry, limit=1, arm="token_ppo")
    assert "cell token_ppo-seed0" in other.notes[0]


def test_bad_input_is_a_clear_error(finished_run, registry, rules, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'token_ppo'"):
        view_run(finished_run, rules, registry, limit=1, arm="token_pop")
    with pytest.raises(RecordError, match="no experiment there"):
        view_run(tmp_path, rules, registry, limit=1, arm=None)
    with pytest.raises(ConfigError, match="--text: is empty"):
        view_texts([""], rules, registry)
