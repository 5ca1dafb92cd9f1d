"""A small experiment whose texts try everything, and Chromium to look at its page."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from marl_bench.judgements import JUDGEMENT, JUDGEMENTS, PAIRS, JudgedPair, Judgement, Verdict
from marl_bench.macro_traces import MACRO_ACTIONS, MacroTrace
from marl_bench.records import Cell, Response
from marl_bench.reporting.compare import compare
from marl_bench.reporting.html.page import PAGE, Picture, write_html
from marl_bench.reporting.tables import differences_table, scores_table
from marl_bench.run_dir import RunDir, append_jsonl, read_cells, write_json_atomically

MACRO, TOKEN = "macro_ppo-fixed_n5", "token_ppo"

ATTACK = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'><!-- {{style}} \u2028 & \" '"
)

TEXTS = [
    ATTACK,
    "👩‍🚀 flies 🚀 today",
    "שלום עולם, مرحبا بالعالم",
    "𠮷野家で食べる 🍜。終わり",
    "A plain answer that was cut",
    "Zebra stripes",
]
"""Responses of the macro arm to the six prompts."""

STARTS = [[0, 9, len(ATTACK)], [0, 3, 10, 11, 17], [0, 5], [0, 1, 8, 10], [0, 7], [0, 5, 13]]
"""Where its macro actions begin, in characters; the first one and the last one end with one that has no text."""

ORACLE = [2.0, 1.0, 0.5, None, 3.0, 0.0]
"""Of the macro arm; the token arm's is 1 throughout."""


def _texts(cell: Cell, texts: Sequence[str]) -> Cell:
    samples = [
        dataclasses.replace(
            sample,
            subset="odd" if place % 2 else "even",
            prompt=f"prompt {place}: {ATTACK}" if place == 0 else f"prompt {place}",
            response=Response(sample.prompt_id, text, token_count=9, finished=place != 4),
        )
        for place, (sample, text) in enumerate(zip(cell.samples, texts, strict=True))
    ]
    return dataclasses.replace(cell, samples=samples)


def _judge(root: Path) -> None:
    folder = root / JUDGEMENTS / "standard"
    judgement = Judgement("openai:fake-1", ["tldr-summary@1"], "standard", "both", 0)
    write_json_atomically(folder / JUDGEMENT, judgement.to_json())
    for prompt, verdicts in (
        (
            "p2",
            [Verdict("arm_first", "ok", "arm", f"Macro says more. {ATTACK}"), Verdict("reference_first", "ok", "arm")],
        ),
        ("p5", [Verdict("arm_first", "ok", "arm"), Verdict("reference_first", "refusal", None, "I cannot judge.")]),
    ):
        pair = JudgedPair(prompt, "even", MACRO, TOKEN, 0, 0, 4, 4, verdicts)
        append_jsonl(folder / PAIRS, pair.to_json())


@dataclasses.dataclass(frozen=True)
class OddRun:
    """The experiment, and what stands in it."""

    run: RunDir
    attack: str = ATTACK
    texts: Sequence[str] = tuple(TEXTS)
    starts: Sequence[Sequence[int]] = tuple(STARTS)

    def page(self, out: Path, **options: Any) -> Path:
        """Writes its page with two tables and a plot."""
        return _write_page(self.run, out, **options)


@pytest.fixture(scope="session")
def _made() -> dict[str, Any]:
    return {}


@pytest.fixture
def odd_run(
    _made: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    make_cell: Callable[..., Cell],
    write_cells: Callable[..., RunDir],
) -> OddRun:
    """The experiment, made once; tests only read it."""
    if "run" not in _made:
        _made["run"] = _odd_run(tmp_path_factory.mktemp("odd") / "run", make_cell, write_cells)
    return OddRun(_made["run"])


@pytest.fixture
def odd_page(_made: dict[str, Any], odd_run: OddRun) -> Path:
    """Its page, made once."""
    if "page" not in _made:
        _made["page"] = odd_run.page(odd_run.run.root.parent / "out")
    return Path(_made["page"])


def _odd_run(root: Path, make_cell: Callable[..., Cell], write_cells: Callable[..., RunDir]) -> RunDir:
    """SFT, token and macro arm, two seeds, six prompts; judge on p2 and p5 of seed 0; macro actions of the macro arm."""
    score = {"reward_model_score": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    cells = []
    for seed in (0, 1):
        sft = make_cell("sft", seed, score | {"oracle": [0.0] * 6})
        token = make_cell(TOKEN, seed, score | {"oracle": [1.0] * 6})
        macro = make_cell(MACRO, seed, score | {"oracle": ORACLE})
        cells += [
            _texts(sft, ["the same"] * 6),
            _texts(token, ["the same"] * 6),
            _texts(macro, TEXTS if seed == 0 else [f"of seed one {place}" for place in range(6)]),
        ]
    run = write_cells(root, cells)
    for place, starts in enumerate(STARTS):
        advantages = [0.5 * (-1) ** number * (number + 1) for number in range(len(starts))]
        trace = MacroTrace(f"p{place}", 0, starts, [5] * len(starts), advantages)
        append_jsonl(run.cell(MACRO, 0) / MACRO_ACTIONS, trace.to_json())
    _judge(run.root)
    return run


def _write_page(run: RunDir, out: Path, **options: Any) -> Path:
    comparison = compare(read_cells(run))
    tables = [table for table in (scores_table(comparison), differences_table(comparison)) if table]
    square = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" fill="{}"/></svg>'
    picture = Picture("A <square>", "Its caption.", square.format("white"), square.format("black"))
    write_html(out / PAGE, [run], comparison, tables, [picture], **options)
    return out / PAGE


@pytest.fixture(
    scope="module"
)  # no longer: until it ends its event loop runs in this thread, and asyncio.run of other tests is refused
def chromium() -> Iterator[Any]:
    """Debian's Chromium without a window."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on PATH: the page is not tried in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Window:
    """A page in the browser, with what it asked for and what it complained about."""

    def __init__(self, chromium: Any, **options: Any) -> None:
        self.context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.route(lambda url: not url.startswith(("file:", "data:")), lambda route: route.abort())

    def open(self, path: Path, hash_text: str = "") -> Any:
        self.page.goto(f"{path.as_uri()}{hash_text}")
        self.page.wait_for_selector("#detail .card, #samples-error:not([hidden])")
        return self.page


@pytest.fixture
def window(chromium: Any) -> Iterator[Callable[..., Window]]:
    """Opens windows; at the end none may have complained or asked for anything but the file."""
    windows: list[Window] = []

    def opened(**options: Any) -> Window:
        windows.append(Window(chromium, **options))
        return windows[-1]

    yield opened
    for one in windows:
        one.context.close()
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []
