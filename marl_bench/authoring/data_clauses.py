"""Clauses of the contract on what a task loads. Each yields what is wrong."""

import json
import pickle
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marl_bench.authoring.fresh_process import fresh_digest
from marl_bench.authoring.opened_task import OpenedTask
from marl_bench.authoring.samples import CheckedData
from marl_bench.authoring.stages import digest_of_data, leaks, stages_of
from marl_bench.config_layers import preset_names, resolve
from marl_bench.errors import MarlBenchError
from marl_bench.models.prompts import fit_prompts
from marl_bench.records import Prompt

MAX_SHARE_OVER_LIMIT = 0.1
"""More prompts or responses than this over the token limit, and the limit is wrong for the task."""
_NAMED = 3


class Skipped(Exception):  # noqa: N818 (nothing is wrong)
    """A clause has nothing to look at; the text says why."""


def spec(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """The spec is complete, and its settings are settings."""
    found = opened.spec
    for name in ("id", "version", "summary", "primary_metric"):
        if not isinstance(getattr(found, name), str) or not getattr(found, name).strip():
            yield f"{name} is {getattr(found, name)!r}; should be a text"
    for preset, settings in found.settings.items():
        if preset not in preset_names():
            yield f"settings name the preset '{preset}'; there are {', '.join(preset_names())}"
            continue
        try:
            resolve(preset=preset, layers=[(f"settings of {found.id}", settings)])
        except MarlBenchError as error:
            yield str(error)
    if found.reward_kind not in ("model", "rule"):
        yield f"reward_kind is {found.reward_kind!r}; should be model or rule"
    if found.base_model is not None and not (found.base_model / "config.json").is_file():
        yield f"base_model: {found.base_model.name} is no from_pretrained folder"
    if found.reward_kind == "model" and not data.loaded.preferences and data.loaded.sft:
        yield "reward_kind is model, but there are no preference pairs to train one on"
    if found.score_range is not None and not found.score_range[0] < found.score_range[1]:
        yield f"score_range is {found.score_range}; should be the lowest and the highest score"


def schema(_opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """Every item has the fields that stages read."""
    for stage, items in stages_of(data.loaded).items():
        problems = [f"'{prompt.id}': {problem}" for prompt, texts in items for problem in _item_problems(prompt, texts)]
        yield from (f"{stage}, prompt {problem}" for problem in problems[:_NAMED])
        if len(problems) > _NAMED:
            yield f"{stage}: {len(problems) - _NAMED} more like these"
    for part in ("rl_prompts", "eval_prompts"):
        twice = _twice([prompt.id for prompt in getattr(data.loaded, part)])
        if twice:
            yield f"{part}: {len(twice)} ids stand twice, such as '{twice[0]}'; arms are paired by id"
    same = [pair.prompt.id for pair in data.loaded.preferences if pair.chosen == pair.rejected]
    if same:
        yield f"preferences: {len(same)} pairs have two equal responses, such as that of prompt '{same[0]}'"


def _item_problems(prompt: Prompt, texts: Sequence[str]) -> Iterator[str]:
    if not isinstance(prompt.id, str) or not prompt.id:
        yield "id should be a text"
    if not isinstance(prompt.text, str) or not prompt.text.strip():
        yield f"text is {prompt.text!r}; should be a text"
        return
    if prompt.reference is not None and (not isinstance(prompt.reference, str) or not prompt.reference.strip()):
        yield f"reference is {prompt.reference!r}; should be a text, or None"
    if prompt.cuttable is not None and not (isinstance(prompt.cuttable, tuple) and len(prompt.cuttable) == 2):
        yield f"cuttable is {prompt.cuttable!r}; should be a span (start, end), or None"
    elif prompt.cuttable is not None and not 0 <= prompt.cuttable[0] <= prompt.cuttable[1] <= len(prompt.text):
        yield f"cuttable {prompt.cuttable} is no span of its {len(prompt.text)} characters"
    if any(set(turn) != {"role", "content"} or not all(map(_is_text, turn.values())) for turn in prompt.messages):
        yield "messages should have role and content as texts, nothing else"
    try:
        json.dumps(dict(prompt.fields), allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"fields are no plain data ({error})"
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            yield f"its response is {text!r}; should be a text"


def determinism(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """The same seed gives the same data, whatever the process did before, and in another process too."""
    state = random.getstate()
    try:
        random.seed(20_000_101)
        again = opened.task.load(opened.source, seed=opened.config.data.seed)
    finally:
        random.setstate(state)
    first = stages_of(data.loaded)
    for stage, items in stages_of(again).items():
        if list(items) != list(first[stage]):
            yield f"{stage}: loading again with the same seed gives other items"
    if dict(again.counts) != dict(data.loaded.counts):
        yield "counts: loading again with the same seed gives other counts"
    if opened.plugin_paths is not None and fresh_digest(opened.config, opened.plugin_paths) != digest_of_data(again):
        yield "another process loads other data with the same seed; does something depend on the order of a set, or on a hash?"


def picklable(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """Task and data travel to worker processes."""
    things: dict[str, Any] = {"the task": opened.task, "its data": data.loaded}
    for name, thing in things.items():
        try:
            pickle.loads(pickle.dumps(thing))
        except Exception as error:  # noqa: BLE001 (pickling runs the plugin's own code)
            yield f"{name} cannot be pickled ({type(error).__name__}: {error})"


def split(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """No prompt stands in two stages."""
    if opened.config.data.split == "official":
        raise Skipped("data.split=official splits rows as published")
    for stages, ids in leaks(data.loaded).items():
        yield f"{len(ids)} prompts stand in {stages}, such as '{ids[0]}'"


def prompts(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """Few prompts are over the token limit."""
    limit = opened.config.sampling.max_prompt_tokens
    over = {}
    for stage, items in stages_of(data.loaded).items():
        texts = [prompt for prompt, _ in items]
        fit = fit_prompts(texts, opened.tokenizer, max_prompt_tokens=limit, overlong="drop")
        over[stage] = (fit.dropped, len(texts))
    yield from _over_limit(opened, over, f"prompts are over sampling.max_prompt_tokens={limit}")


def responses(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """Few responses that are learned from are over the token limit."""
    limit = opened.config.sampling.max_response_tokens
    over = {}
    for stage, items in stages_of(data.loaded).items():
        texts = [text for _, texts in items for text in texts]
        ids = opened.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        over[stage] = (sum(len(row) + 1 > limit for row in ids), len(texts))
    yield from _over_limit(opened, over, f"responses are over sampling.max_response_tokens={limit}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _over_limit(opened: OpenedTask, over: Mapping[str, tuple[int, int]], what: str) -> Iterator[str]:
    """Yields the stages with too many over the limit.

    Raises:
        Skipped: The data are not the task's own, so the limit is for the user to choose, not a fault of the task.
    """
    problems = [
        f"{stage}: {count} of {total} {what}; raise it in the task's settings"
        for stage, (count, total) in over.items()
        if count > MAX_SHARE_OVER_LIMIT * total
    ]
    if problems and opened.source.kind != "embedded":
        raise Skipped("; ".join(problem.replace("in the task's settings", "with --set") for problem in problems))
    yield from problems


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
