"""How a page of 10,000 samples and four arms feels, measured in Chromium; `pytest -m soak -s -n 0` prints the figures."""

import json
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marl_bench.macro_traces import MACRO_ACTIONS
from marl_bench.reporting.compare import compare
from marl_bench.reporting.html.page import PAGE, write_html
from marl_bench.run_dir import SAMPLES, RunDir, read_cells

SAMPLES_AN_ARM = 10_000
ARMS = ("sft", "token_ppo", "token_ppo_matched_lambda-n5", "macro_ppo-fixed_n5")

_LONGEST_FRAME = """
(action) => new Promise((done) => {
  const list = document.getElementById('list');
  let [frames, longest, before] = [0, 0, performance.now()];
  const frame = () => {
    const now = performance.now();
    longest = Math.max(longest, now - before);
    before = now;
    list.scrollTop = (list.scrollHeight / 120) * frames;
    frames += 1;
    if (frames <= 120) requestAnimationFrame(frame); else done(longest);
  };
  requestAnimationFrame(frame);
})
"""

_UNTIL_STATUS = """
([id, value, wanted]) => new Promise((done) => {
  const status = document.getElementById('status');
  const control = document.getElementById(id);
  const began = performance.now();
  const look = () => {
    if (status.textContent.includes(wanted)) { observer.disconnect(); done(performance.now() - began); }
  };
  const observer = new MutationObserver(look);
  observer.observe(status, { childList: true, characterData: true, subtree: true });
  control.value = value;
  control.dispatchEvent(new Event(id === 'query' ? 'input' : 'change', { bubbles: true }));
})
"""


def _large_run(root: Path, make_cell: Callable[..., Any], write_cells: Callable[..., RunDir]) -> RunDir:
    """Lays out 10,000 samples of about 90 words for each of four arms; one sample alone has the word 'needle'."""
    rng = random.Random(0)
    words = [f"{chr(97 + n % 26)}{'aeiou'[n % 5]}{n:x}" for n in range(2000)]
    run = write_cells(root, [make_cell(arm, 0, {"reward_model_score": [0.0], "oracle": [0.0]}) for arm in ARMS])
    for arm in ARMS:
        folder = run.cell(arm, 0)
        with (folder / SAMPLES).open("w") as file, (folder / MACRO_ACTIONS).open("w") as traces:
            for place in range(SAMPLES_AN_ARM):
                text = " ".join(rng.choices(words, k=90)) + (" needle" if arm == ARMS[3] and place == 9_876 else "")
                metrics = {"reward_model_score": rng.gauss(0, 1), "oracle": float(rng.randrange(5))}
                row = {
                    "prompt_id": f"p{place}",
                    "subset": "ab"[place % 2],
                    "prompt": f"prompt {place} " + text[:400],
                    "response": text,
                }
                row |= {"token_count": 120, "finished": place % 10 > 0, "sample_index": 0, "metrics": metrics}
                file.write(json.dumps(row) + "\n")
                if place < 1000:
                    starts = list(range(0, len(text), 24))
                    trace = {"prompt_id": f"p{place}", "sample_index": 0, "starts": starts, "tokens": [5] * len(starts)}
                    traces.write(json.dumps(trace | {"advantages": [rng.gauss(0, 1) for _ in starts]}) + "\n")
    return run


@pytest.mark.soak
def test_ten_thousand_samples_of_four_arms_stay_usable(
    tmp_path: Path, make_cell: Callable[..., Any], write_cells: Callable[..., RunDir], window: Callable[..., Any]
) -> None:
    run = _large_run(tmp_path / "run", make_cell, write_cells)
    comparison = compare(read_cells(run))
    began = time.perf_counter()
    write_html(tmp_path / PAGE, [run], comparison, [], [])
    written = time.perf_counter() - began
    began = time.perf_counter()
    page = window().open(tmp_path / PAGE)
    opened = time.perf_counter() - began
    assert page.locator("#count-all").inner_text() == "10,000"
    early = page.evaluate(_UNTIL_STATUS, ["query", "needle", "1 of 10,000"])
    page.evaluate(_UNTIL_STATUS, ["query", "", "10,000 of 10,000"])
    frame = page.evaluate(_LONGEST_FRAME)
    nodes = page.locator(".option").count()
    filtered = page.evaluate(_UNTIL_STATUS, ["subset", "b", "5,000 of 10,000"])
    page.evaluate(_UNTIL_STATUS, ["subset", "", "10,000 of 10,000"])
    began = time.perf_counter()
    for _ in range(50):
        page.keyboard.press("j")
    stepped = (time.perf_counter() - began) / 50
    late = page.evaluate(_UNTIL_STATUS, ["query", "needle", "1 of 10,000"])
    assert page.locator("#detail-title").inner_text() == "p9876"
    assert nodes < 60
    sys.stdout.write(
        f"\npage {(tmp_path / PAGE).stat().st_size / 1e6:.1f} MB, written in {written:.1f} s; opened in {opened:.2f} s; "
        f"longest frame of 120 while scrolling through all {frame:.0f} ms ({nodes} rows in the document); filter {filtered:.0f} ms; "
        f"key to the next sample {1000 * stepped:.0f} ms; search first {early:.0f} ms, again {late:.0f} ms (120 ms of each wait for typing)\n"
    )


@pytest.mark.soak
def test_memory_of_writing_is_bounded_by_the_rows_shown(
    tmp_path: Path, make_cell: Callable[..., Any], write_cells: Callable[..., RunDir]
) -> None:
    run = write_cells(tmp_path / "run", [make_cell("sft", 0, {"reward_model_score": [0.0, 1.0]})])
    comparison = compare(read_cells(run))
    path = run.cell("sft", 0) / SAMPLES
    lines = path.read_text().splitlines()
    peaks = []
    for count in (20_000, 200_000):
        with path.open("w") as file:
            file.writelines(lines[0].replace('"p0"', f'"p{place}"') + "\n" for place in range(count))
        tracemalloc.start()
        write_html(tmp_path / PAGE, [run], comparison, [], [], rows=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    sys.stdout.write(
        f"\npeak of Python's memory at 20,000 and 200,000 samples, 1,000 shown: {peaks[0] / 1e6:.1f} and {peaks[1] / 1e6:.1f} MB\n"
    )
    assert peaks[1] < 1.1 * peaks[0]
