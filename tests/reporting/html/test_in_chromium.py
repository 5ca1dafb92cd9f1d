"""The page in a real browser: tables, filters, search, keys, permalinks, themes, texts that attack.

Expected outcomes of the macro arm against the token arm, seed 0. Oracle 2, 1, 0.5, none, 3, 0 against 1: win, tie, loss, unscored,
win, loss. The judge saw p2 (a win in both orders) and p5 (one refusal: unscored), so the best available says win, tie, win, unscored,
win, unscored. p4 was truncated.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marl_bench.reporting.html import page as page_module

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def shown(odd_page: Path, window: Callable[..., Any]) -> Any:
    """The page in a window of 1280 pixels."""
    return window().open(odd_page)


def _counts(page: Any) -> dict[str, str]:
    names = ("all", "win", "tie", "loss", "unscored", "truncated")
    return {name: page.locator(f"#count-{name}").inner_text() for name in names}


def _expect_listed(page: Any, expected: list[str]) -> None:
    """Waits until the list shows these prompts in this order."""
    shown = (
        "[...document.querySelectorAll('.option')].sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)"
        ".map((one) => one.querySelector('.option-place').textContent.split(' · ')[0]).join(' ')"
    )
    page.wait_for_function(f"(expected) => {shown} === expected", arg=" ".join(expected), timeout=5000)


def _show(page: Any, outcome: str) -> None:
    page.locator(f"#outcomes input[value={outcome}]").check()


def test_outcomes_take_the_judge_then_the_oracle(shown: Any) -> None:
    assert _counts(shown) == {"all": "6", "win": "3", "tie": "1", "loss": "0", "unscored": "2", "truncated": "1"}
    shown.get_by_label("Decided by").select_option("oracle")
    expect(shown.locator("#count-loss")).to_have_text("2")
    assert _counts(shown) == {"all": "6", "win": "2", "tie": "1", "loss": "2", "unscored": "1", "truncated": "1"}
    shown.get_by_label("Decided by").select_option("judge:0")
    # The judge was asked about p2 and p5 alone: the other four are no failures of it.
    expect(shown.locator("#count-unscored")).to_have_text("1")
    assert _counts(shown) == {"all": "6", "win": "1", "tie": "0", "loss": "0", "unscored": "1", "truncated": "1"}
    expect(shown.locator("#status")).to_contain_text("not judged: 4.")


def test_a_judged_pair_counts_the_other_way_round_too(shown: Any) -> None:
    shown.locator("#arm").select_option(label="token_ppo")
    shown.get_by_label("Against").select_option(label="macro_ppo:fixed(n=5)")
    expect(shown.locator("#count-loss")).to_have_text("3")
    assert _counts(shown) == {"all": "6", "win": "0", "tie": "1", "loss": "3", "unscored": "2", "truncated": "1"}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("win", ["p0", "p2", "p4"]), ("tie", ["p1"]), ("unscored", ["p3", "p5"]), ("truncated", ["p4"]), ("loss", [])],
)
def test_each_filter(shown: Any, outcome: str, expected: list[str]) -> None:
    _show(shown, outcome)
    _expect_listed(shown, expected)
    if not expected:
        expect(shown.locator("#detail")).to_contain_text("No sample passes these filters")


def test_subset_and_order(shown: Any) -> None:
    shown.get_by_label("Subset").select_option("odd")
    _expect_listed(shown, ["p1", "p3", "p5"])
    shown.get_by_label("Subset").select_option("")
    # Differences of the oracle to 1: 1, 0, -0.5, none, 2, -1; what has none stands last.
    for order, expected in (
        ("highest", ["p4", "p0", "p1", "p2", "p5", "p3"]),
        ("lowest", ["p5", "p2", "p1", "p0", "p4", "p3"]),
        ("largest", ["p4", "p0", "p5", "p2", "p1", "p3"]),
    ):
        shown.get_by_label("Order").select_option(order)
        _expect_listed(shown, expected)


def test_search_reads_responses_reasons_and_ids_of_the_seed(shown: Any) -> None:
    for query, expected in (
        ("ZEBRA", ["p5"]),
        ("i cannot judge", ["p5"]),
        ("p3", ["p3"]),
        ("食べる 🍜", ["p3"]),
        ("seed one", []),
    ):
        shown.keyboard.press("/")
        shown.keyboard.press("ControlOrMeta+a")
        shown.keyboard.insert_text(query)
        expect(shown.locator("#status")).to_contain_text(f"{len(expected)} of 6 samples")
        _expect_listed(shown, expected)
        shown.keyboard.press("Escape")
    shown.locator("#seed").select_option("1")
    expect(shown.locator("#status")).to_contain_text("6 of 6 samples")


def test_keys_walk_through_the_samples(shown: Any) -> None:
    title = shown.locator("#detail-title")
    expect(title).to_have_text("p0")
    for key, expected in (("j", "p1"), ("j", "p2"), ("k", "p1"), ("k", "p0"), ("k", "p0")):
        shown.keyboard.press(key)
        expect(title).to_have_text(expected)
    shown.locator("#list").focus()
    for key, expected in (("ArrowDown", "p1"), ("End", "p5"), ("ArrowUp", "p4"), ("Home", "p0")):
        shown.keyboard.press(key)
        expect(title).to_have_text(expected)
    assert shown.locator("#list").get_attribute("aria-activedescendant") == "option-0"
    shown.keyboard.press("?")
    expect(shown.locator("#help")).to_be_visible()
    shown.keyboard.press("j")
    shown.keyboard.press("Escape")
    expect(shown.locator("#help")).to_be_hidden()
    expect(title).to_have_text("p0")


def test_a_permalink_brings_back_what_was_seen(odd_page: Path, window: Callable[..., Any]) -> None:
    first = window().open(odd_page)
    assert first.evaluate("location.hash") == ""  # untouched, the address stays as it was
    first.get_by_label("Decided by").select_option("oracle")
    first.get_by_label("Order").select_option("lowest")
    first.locator("#arms input").first.uncheck()
    _show(first, "loss")
    first.keyboard.press("m")
    expect(first.locator("#detail-title")).to_have_text("p5")
    first.keyboard.press("j")
    expect(first.locator("#detail-title")).to_have_text("p2")
    address = first.evaluate("location.hash")
    assert "sample=p2" in address
    assert first.locator("#permalink").get_attribute("href") == address

    second = window().open(odd_page, address)
    expect(second.locator("#detail-title")).to_have_text("p2")
    assert second.evaluate("location.hash") == address
    _expect_listed(second, ["p5", "p2"])
    assert second.locator("#decider").input_value() == "oracle"
    assert second.locator(".card").count() == 2
    assert second.locator(".macros").count() == 0
    assert second.locator("#outcomes input:checked").get_attribute("value") == "loss"


def test_an_address_with_unknown_names_shows_the_usual(odd_page: Path, window: Callable[..., Any]) -> None:
    wrong = "#sample=nobody&arm=x&against=y&arms=z&seed=9&by=q&show=all&subset=w&order=v&index=NaN"
    page = window().open(odd_page, wrong)
    expect(page.locator("#detail-title")).to_have_text("p0")
    assert _counts(page)["win"] == "3"


def test_macro_actions_are_cut_where_python_cuts_them(odd_run: Any, shown: Any) -> None:
    for place, (text, starts) in enumerate(zip(odd_run.texts, odd_run.starts, strict=True)):
        pieces = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
        expect(shown.locator("#detail-title")).to_have_text(f"p{place}")
        assert shown.locator(".macros .macro").evaluate_all("spans => spans.map((span) => span.textContent)") == pieces
        assert shown.locator(".macros").inner_text().replace("\n", "") == text.replace("\n", "")
        shown.keyboard.press("j")


def test_a_macro_action_tells_its_advantage_under_the_pointer_and_by_key(shown: Any) -> None:
    shown.keyboard.press("j")
    expect(shown.locator("#detail-title")).to_have_text("p1")
    readout = shown.locator(".readout")
    shown.locator(".macro[data-place='2']").hover()
    expect(readout).to_have_text("Macro action 3 of 5 · 5 tokens · advantage +1.500")
    shown.locator(".macros").focus()
    shown.keyboard.press("ArrowLeft")
    expect(readout).to_have_text("Macro action 2 of 5 · 5 tokens · advantage −1.000")
    for _ in range(9):
        shown.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("Macro action 5 of 5")


def test_verdicts_show_who_was_read_first_and_why(shown: Any) -> None:
    shown.keyboard.press("j")
    shown.keyboard.press("j")
    expect(shown.locator("#detail-title")).to_have_text("p2")
    verdict = shown.locator(".verdict")
    expect(verdict).to_contain_text("macro_ppo:fixed(n=5) against token_ppo · score 1.000 for macro_ppo:fixed(n=5)")
    expect(verdict.locator("li").nth(1)).to_contain_text("macro_ppo:fixed(n=5) wins · read first, as A: token_ppo")
    expect(verdict.locator(".reason")).to_contain_text("Macro says more. </script>")


def test_texts_are_data(odd_run: Any, shown: Any) -> None:
    expect(shown.locator("#detail-title")).to_have_text("p0")
    assert shown.locator(".macros").evaluate("node => node.textContent") == odd_run.attack
    assert shown.locator(".prompt .text").evaluate("node => node.textContent") == f"prompt 0: {odd_run.attack}"
    assert shown.evaluate("window.hacked") is None
    assert shown.locator("#browser img").count() == 0


def test_the_page_may_not_reach_a_network_nor_run_what_is_slipped_in(odd_page: Path, chromium: Any) -> None:
    page = chromium.new_context().new_page()
    page.goto(odd_page.as_uri())
    reached = "() => fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => String(error))"
    refusals: list[str] = []
    page.on("console", lambda message: refusals.append(message.text))
    assert "TypeError" in page.evaluate(reached)
    assert any("Content Security Policy" in text for text in refusals)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror='window.hacked = 3'>`)")
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    page.context.close()


def test_tables_sort_by_number_and_back(shown: Any) -> None:
    table = shown.locator("table.sortable").nth(1)  # differences: to SFT and to token PPO, score then oracle
    head = table.get_by_role("button", name="Difference")
    column = "cells => cells.map((cell) => Number(cell.dataset.value))"
    values = table.locator("tbody tr td:nth-child(4)")
    original = values.evaluate_all(column)
    head.click()
    assert values.evaluate_all(column) == sorted(original, reverse=True)
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("Difference")
    head.click()
    assert values.evaluate_all(column) == sorted(original)
    head.click()
    assert values.evaluate_all(column) == original
    assert table.locator("th[aria-sort]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(
    odd_page: Path, window: Callable[..., Any], scheme: str
) -> None:
    page = window(color_scheme=scheme).open(odd_page)
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(251, 250, 248)", "rgb(19, 21, 24)"
    pictures = (
        "[...document.querySelectorAll('figure img')].filter((one) => one.offsetWidth).map((one) => one.className)"
    )
    system = {"light": light, "dark": dark}[scheme]
    assert page.evaluate(background) == system
    assert page.evaluate(pictures) == [f"on-{scheme}"]
    for expected, name in ((light, "light"), (dark, "dark"), (system, scheme)):
        page.locator("#theme").click()
        assert page.evaluate(background) == expected
        assert page.evaluate(pictures) == [f"on-{name}"]


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out(odd_page: Path, window: Callable[..., Any], width: int) -> None:
    page = window(viewport={"width": width, "height": 800}).open(odd_page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_is_light_whatever_the_screen_is(odd_page: Path, window: Callable[..., Any]) -> None:
    page = window(color_scheme="dark").open(odd_page)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#controls").is_hidden()
    assert page.locator("img.on-light").is_visible()
    assert page.locator("img.on-dark").is_hidden()


def test_compressed_data_read_the_same(
    odd_run: Any, window: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "_COMPRESSED_FROM_BYTES", 0)
    page = window().open(odd_run.page(tmp_path))
    assert page.locator("script[type='application/json']").count() == 0
    assert page.locator(".macros").evaluate("node => node.textContent") == odd_run.attack
    assert _counts(page)["win"] == "3"
