"""Citation markers: found, taken out neatly, renumbered."""

import pytest
from marl_bench_tasks.webgpt.citations import cited_numbers, renumber_citations, strip_citations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("None here, not even [a] or [].", ()),
        ("One [1].", (1,)),
        ("Two [1, 2].", (1, 2)),
        ("Two [1][2].", (1, 2)),
        ("Again [3] and [3] and [12; 4].", (3, 3, 12, 4)),
    ],
)
def test_numbers_are_found_in_order(text, expected):
    assert cited_numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is made of oak [1].", "It is made of oak."),
        ("It is made of oak[1].", "It is made of oak."),
        ("It is made of oak. [1]", "It is made of oak."),
        ("It is made of oak [1, 2]. It stands [3] in Rome.", "It is made of oak. It stands in Rome."),
        ("Oak[1][2] and iron [1] [3], or tin [2],[3]!", "Oak and iron, or tin!"),
        ("[1] Oak is hard.", "Oak is hard."),
        ("Oak is hard [1]\n\n[2] Tin is soft [3]\n", "Oak is hard\n\nTin is soft\n"),
        ("Oak is hard (see [1]).", "Oak is hard (see)."),
        ("Oak is hard ([1]).", "Oak is hard."),
        ('He said "oak" [1] twice.', 'He said "oak" twice.'),
        ("Oak[1]is hard.", "Oak is hard."),
        (
            "A list [a] and an array x[i] stay, as do  two spaces.",
            "A list [a] and an array x[i] stay, as do  two spaces.",
        ),
        ("[1]", ""),
        ("", ""),
    ],
)
def test_markers_leave_no_trace(text, expected):
    assert strip_citations(text) == expected


def test_numbers_follow_their_references_to_new_places():
    text = "Oak [1], iron [2, 3] and tin [1][4]."
    # 1 -> 3, 2 and 3 -> 1; 4 has no reference and becomes 9
    assert renumber_citations(text, {1: 3, 2: 1, 3: 1}, other=9) == "Oak [3], iron [1] and tin [3][9]."
