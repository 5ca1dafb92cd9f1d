"""What a judge will be asked about one or more finished runs, before anything is asked. No torch."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from marl_bench.errors import ConfigError, RecordError, UnknownNameError, shown
from marl_bench.interfaces import JudgePrompt
from marl_bench.judgements import JUDGEMENTS
from marl_bench.judging.costs import Price, estimated_tokens, published_price
from marl_bench.judging.prompts import check_judge_prompts, general_prompts, load_judge_prompts
from marl_bench.judging.questions import Judge, Question
from marl_bench.judging.selection import OrderMode, Pair, choose_pairs
from marl_bench.plugins import Registry
from marl_bench.records import Cell
from marl_bench.run_dir import RunDir, read_cells

CACHE = "answers.sqlite"
PROVIDER = "openai"
DEFAULT_PAIRS = 1000
LEAST_TOKENS = 256
"""Shorter answers are cut before the verdict, and a cut verdict is none."""

Protocol = Literal["standard", "official"]
OFFICIAL_PAIRS = 50
OFFICIAL_NOTE = (
    f"Official protocol: {OFFICIAL_PAIRS} pairs of each comparison, drawn evenly from the subsets, each in one random order. Half of the "
    "95 % interval of a win rate is then ±14 points, and position bias is not measured."
)


@dataclasses.dataclass(frozen=True)
class JudgeOptions:
    """What a user asks for.

    Attributes:
        judge: `openai:MODEL`.
        own_server: True if another server than the OpenAI API is asked.
        pairs: At most so many pairs of each comparison.
        order: Both orders of each pair, or one.
        seed: Of the choice of pairs and of single orders.
        protocol: `standard`, or `official`, which says pairs and order itself.
        temperature: Sampling temperature of the judge.
        max_tokens: Limit of an answer.
        price: The user's own price, or None for the published one.
        prompts: File with judge prompts, or None for the task's own.
        arms: Labels or folder names of arms to judge; empty means all.
        name: Folder under `judgements`, or None for one made from the judge.
        cache: File of the stored answers, or None for one in the first run.
    """

    judge: str
    own_server: bool = False
    pairs: int = DEFAULT_PAIRS
    order: OrderMode = "both"
    seed: int = 0
    protocol: Protocol = "standard"
    temperature: float = 0.0
    max_tokens: int = 2048
    price: Price | None = None
    prompts: Path | None = None
    arms: Sequence[str] = ()
    name: str | None = None
    cache: Path | None = None


@dataclasses.dataclass(frozen=True)
class JudgingPlan:
    """Pairs, questions and places.

    Attributes:
        options: What was asked for, with the protocol applied.
        judge: Who is asked.
        name: Folder under `judgements`.
        prompts: What it is asked.
        pairs: The pairs.
        labels: Folder name of an arm to its label.
        homes: Folder name of an arm with a seed to the experiment that they stand in.
        cache: File of the stored answers.
        price: Of the judge's tokens, or None where it is not known.
        notes: Sentences that the report must show.
    """

    options: JudgeOptions
    judge: Judge
    name: str
    prompts: Sequence[JudgePrompt]
    pairs: Sequence[Pair]
    labels: Mapping[str, str]
    homes: Mapping[tuple[str, int], RunDir]
    cache: Path
    price: Price | None
    notes: Sequence[str]

    def home(self, pair: Pair) -> RunDir:
        """Returns the experiment in which a pair is stored."""
        return self.homes[pair.arm, pair.seed]

    def questions(self) -> dict[str, Question]:
        """Returns the questions by their key; pairs with the same texts share them, and those whose two responses are the same have none."""
        differing = [pair for pair in self.pairs if not pair.is_identical]
        asked = [pair.question(order, self.prompts) for pair in differing for order in pair.orders]
        return {question.key(self.judge): question for question in asked}

    def estimate(self, questions: Mapping[str, Question]) -> tuple[int, int, float | None]:
        """Returns about how many tokens questions and answers take, and their cost in US dollars."""
        read, written = estimated_tokens(questions.values())
        return read, written, self.price.of(read, written) if self.price else None


def parse_judge(options: JudgeOptions) -> Judge:
    """Returns who is asked.

    Raises:
        ConfigError: The text is not `openai:MODEL`, or an option of the judge is out of range.
    """
    provider, colon, model = options.judge.partition(":")
    if provider != PROVIDER or not colon or not model.strip():
        raise ConfigError(
            f"--judge {shown(options.judge)}: give {PROVIDER}:MODEL, for example openai:gpt-4o-2024-11-20."
        )
    if options.max_tokens < LEAST_TOKENS:
        raise ConfigError(
            f"--max-tokens {options.max_tokens}: a limit below {LEAST_TOKENS} cuts answers before their verdict; raise it."
        )
    return Judge(
        options.judge,
        model.strip(),
        own_server=options.own_server,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
    )


def plan_judging(run_dirs: Sequence[RunDir], options: JudgeOptions, registry: Registry) -> JudgingPlan:
    """Returns what would be asked.

    Raises:
        ConfigError: An option is wrong, or there is nothing to judge.
        RecordError: Runs cannot be read, or do not belong together.
        UnknownNameError: The runs' task is not installed, or no arm has such a name.
    """
    judge = parse_judge(options)
    notes = []
    if options.protocol == "official":
        options = dataclasses.replace(options, pairs=OFFICIAL_PAIRS, order="single")
        notes.append(OFFICIAL_NOTE)
    cells, homes = complete_cells(run_dirs)
    prompts = prompts_for_runs(cells, registry, file=options.prompts)
    pairs = choose_pairs(cells, prompts, count=options.pairs, seed=options.seed, order=options.order)
    pairs = _of_arms(pairs, cells, options.arms)
    if not pairs:
        where = ", ".join(str(run_dir.root) for run_dir in run_dirs)
        raise ConfigError(
            f"{where}: no pair to judge; two arms with the same prompts and seeds are needed, one of them sft or token_ppo."
        )
    notes += _shortfalls(pairs, options.pairs)
    same = sum(pair.is_identical for pair in pairs)
    if same:
        notes.append(
            f"{same:,} of {len(pairs):,} pairs hold the same text twice: they are ties, and the judge is not asked."
        )
    price = options.price or (None if options.own_server else published_price(judge.model))
    if price is not None:
        notes.append(
            f"Price: {price.prompt:g} and {price.completion:g} US dollars per million tokens ({price.source})."
        )
    cache = options.cache or run_dirs[0].root / JUDGEMENTS / CACHE
    labels = {str(cell.record.arm["name"]): str(cell.record.arm["label"]) for cell in cells}
    return JudgingPlan(options, judge, _name(options, judge), prompts, pairs, labels, homes, cache, price, notes)


def complete_cells(run_dirs: Sequence[RunDir]) -> tuple[list[Cell], dict[tuple[str, int], RunDir]]:
    """Returns the complete cells of runs of one task, and arm and seed of each to its run.

    Raises:
        RecordError: There are none, or they do not belong together.
    """
    cells: dict[tuple[str, int], Cell] = {}
    homes: dict[tuple[str, int], RunDir] = {}
    for run_dir in run_dirs:
        for cell in read_cells(run_dir):
            if cell.record.status != "complete" or not cell.samples:
                continue
            key = (str(cell.record.arm["name"]), cell.record.seed)
            if key in cells:
                raise RecordError(f"arm '{key[0]}', seed {key[1]}: stands in two of the runs; judge them one by one.")
            cells[key], homes[key] = cell, run_dir
    tasks = sorted({str(cell.record.task["id"]) for cell in cells.values()})
    if len(tasks) != 1:
        found = f"of {len(tasks)} tasks ({', '.join(tasks)})" if tasks else "without a complete cell"
        raise RecordError(f"judge: the runs are {found}; give finished runs of one task.")
    return list(cells.values()), homes


def prompts_for_runs(cells: Sequence[Cell], registry: Registry, *, file: Path | None) -> tuple[JudgePrompt, ...]:
    """Returns the judge prompts of a file, else of the cells' task, else the general one."""
    if file is not None:
        return load_judge_prompts(file)
    spec = registry.task(str(cells[0].record.task["id"]))
    return check_judge_prompts(spec.judge_prompts) if spec.judge_prompts else general_prompts()


def _of_arms(pairs: Sequence[Pair], cells: Sequence[Cell], wanted: Sequence[str]) -> list[Pair]:
    names = {str(cell.record.arm[key]): str(cell.record.arm["name"]) for cell in cells for key in ("label", "name")}
    for arm in wanted:
        if arm not in names:
            raise UnknownNameError("arm", arm, {str(cell.record.arm["label"]) for cell in cells})
    kept = {names[arm] for arm in wanted}
    return [pair for pair in pairs if not kept or pair.arm in kept]


def _shortfalls(pairs: Sequence[Pair], count: int) -> list[str]:
    """Returns a note where there were fewer pairs than asked for."""
    counts: dict[tuple[str, str], int] = {}
    for pair in pairs:
        counts[pair.arm, pair.reference] = counts.get((pair.arm, pair.reference), 0) + 1
    short = sorted({found for found in counts.values() if found < count})
    if not short:
        return []
    there = f"{short[0]:,}" if len(short) == 1 else f"{short[0]:,} to {short[-1]:,}"
    return [f"Asked for {count:,} pairs of each comparison; there are {there}."]


def _name(options: JudgeOptions, judge: Judge) -> str:
    parts = [
        judge.model,
        *(["official"] if options.protocol == "official" else ["single"] if options.order == "single" else []),
    ]
    name = options.name or re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip(".-")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise ConfigError(
            f"--name {shown(name)}: use letters, digits, '.', '_' and '-', and begin with a letter or digit."
        )
    return name
