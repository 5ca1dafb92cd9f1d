"""`marl-bench bench judge`: questions a second against a server with a fixed answer time, beside the ideal rate and a serial loop."""

import asyncio
import contextlib
import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import JudgeError
from marl_bench.judging.asking import Asker
from marl_bench.judging.cache import AnswerCache
from marl_bench.judging.job import JobLimits, ask_all
from marl_bench.judging.prompts import general_prompts
from marl_bench.judging.questions import Dialect, Judge, Question
from marl_bench.judging.transport import OpenAITransport
from marl_bench.reporting.formatting import number, percent
from marl_bench.reporting.tables import Table

JUDGE = Judge("openai:bench", "bench", own_server=True)


@dataclasses.dataclass(frozen=True)
class JudgeSize:
    """How large the benchmark is.

    Attributes:
        concurrency: Questions at a time.
        milliseconds: Answer time of the server.
        questions: Questions of a round.
        serial: Questions of the serial loop in a round.
        rounds: Rounds, in which the two take turns.
    """

    concurrency: int = 64
    milliseconds: float = 200.0
    questions: int = 3200
    serial: int = 20
    rounds: int = 3

    @property
    def ideal(self) -> float:
        """Questions a second if nothing but the server took time."""
        return 1000 * self.concurrency / self.milliseconds


@dataclasses.dataclass(frozen=True)
class JudgeResult:
    """All of `bench judge`.

    Attributes:
        size: How large it was.
        rates: Questions a second of each round: from the first question to the last stored answer.
        serial_rates: Likewise, of one question after the other with the bare `openai` package, nothing stored.
        processor_seconds: Of this process, for each round of `rates`.
    """

    size: JudgeSize
    rates: Sequence[float]
    serial_rates: Sequence[float]
    processor_seconds: Sequence[float]

    @property
    def share_of_ideal(self) -> float:
        """Median rate, as a share of the ideal one."""
        return statistics.median(self.rates) / self.size.ideal

    @property
    def speed_up(self) -> float:
        """Median of the rounds' ratios to the serial loop."""
        return statistics.median(rate / serial for rate, serial in zip(self.rates, self.serial_rates, strict=True))


def bench_judge(size: JudgeSize) -> JudgeResult:
    """Runs the whole benchmark against a server in a process of its own.

    Raises:
        JudgeError: The server did not start, or a question had no verdict.
    """
    import openai  # noqa: F401 (loading it takes a second, once for a whole job)

    rates, serial_rates, processor = [], [], []
    with _server(size.milliseconds) as url, tempfile.TemporaryDirectory() as folder:
        for turn in range(size.rounds):
            questions = {question.key(JUDGE): question for question in _questions(size.questions, turn)}
            began, busy = time.perf_counter(), time.process_time()
            asyncio.run(_ask(questions, url, Path(folder) / f"{turn}.sqlite", concurrency=size.concurrency))
            rates.append(len(questions) / (time.perf_counter() - began))
            processor.append(time.process_time() - busy)
            serial_rates.append(_serial_rate(list(questions.values())[: size.serial], url))
    return JudgeResult(size, rates, serial_rates, processor)


def tables(result: JudgeResult) -> list[Table]:
    """Returns the result as a table."""
    size, rate, serial = result.size, statistics.median(result.rates), statistics.median(result.serial_rates)
    rows = [
        [
            f"judge, {size.concurrency} at a time",
            number(rate),
            percent(result.share_of_ideal),
            f"{result.speed_up:.1f}",
        ],
        ["serial loop", number(serial), percent(serial * size.milliseconds / 1000), "1.0"],
        ["ideal", number(size.ideal), percent(1.0), ""],
    ]
    processor = 1000 * statistics.median(result.processor_seconds) / size.questions
    note = (
        f"Medians of {size.rounds} rounds of {size.questions:,} questions; the server answers after {size.milliseconds:g} ms. The serial "
        f"loop's ideal is one question each answer time. Processor time: {processor:.2f} ms a question."
    )
    return [Table("Judge: questions a second", ["Way", "Questions/s", "Of its ideal", "Times the loop"], rows, note)]


def as_json(result: JudgeResult) -> dict[str, Any]:
    """Returns every measured rate."""
    plain: Mapping[str, Any] = dataclasses.asdict(result)
    return {**plain, "ideal": result.size.ideal, "share_of_ideal": result.share_of_ideal, "speed_up": result.speed_up}


def _questions(count: int, turn: int) -> list[Question]:
    """Returns questions of about 400 words each."""
    (wording,) = general_prompts()
    story, answer = "words of a story " * 60, "words of an answer " * 20
    return [Question(wording, f"{story}{turn}", f"{answer}{number}", f"{number} {answer}") for number in range(count)]


async def _ask(questions: Mapping[str, Question], url: str, cache_path: Path, *, concurrency: int) -> None:
    with AnswerCache(cache_path) as cache:
        async with OpenAITransport(base_url=url, timeout_seconds=60.0) as transport:
            asker = Asker(JUDGE, transport)
            limits = JobLimits(concurrency=concurrency)
            answers = await ask_all(questions, asker, cache, limits=limits, price=None, listener=lambda _: None)
    unscored = sum(not answer.is_scored for answer in answers.values())
    if unscored or asker.attempts != len(questions):
        raise JudgeError(
            f"bench judge: {asker.attempts} calls for {len(questions)} questions, {unscored} without a verdict."
        )


def _serial_rate(questions: Sequence[Question], url: str) -> float:
    from openai import OpenAI

    with OpenAI(base_url=url, api_key="none") as client:
        began = time.perf_counter()
        for question in questions:
            client.chat.completions.create(**question.body(JUDGE, Dialect()))
        return len(questions) / (time.perf_counter() - began)


@contextlib.contextmanager
def _server(milliseconds: float) -> Iterator[str]:
    command = [sys.executable, "-m", "marl_bench.bench.judge_server", str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise JudgeError(
                "bench judge: the server did not start; run python -m marl_bench.bench.judge_server 200 to see why."
            )
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.stdin.close()
            process.wait()
