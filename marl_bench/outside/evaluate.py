"""Evaluates systems made elsewhere, cell by cell, into a folder that reports read like a run's. No torch, unless a model is part of it."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from marl_bench.evaluation.results import ScoredResponses, aggregate, eval_result
from marl_bench.outside.answers import ANSWERS, Answer, OutsideCell
from marl_bench.outside.plan import OutsidePlan, answers_of_file
from marl_bench.outside.samples_file import SampleRow, matched
from marl_bench.outside.systems import System
from marl_bench.provenance import environment
from marl_bench.records import EvalResult, Prompt, RunRecord
from marl_bench.reporting.report import ReportFiles, write_report
from marl_bench.reward_sources import parse_reward_sources
from marl_bench.run_dir import (
    RECORD,
    SAMPLES,
    claim,
    locked,
    make_writable,
    read_record,
    write_json_atomically,
    write_jsonl_atomically,
)
from marl_bench.score_parts import Reward, RewardPart, RuleReward, ToScore, load_callable_reward

Done = Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class Answered:
    """A system's answers.

    Attributes:
        answers: The answers.
        notes: What a report must say of them.
        same_tokens: Whether their tokens are those of the scoring models.
    """

    answers: Sequence[Answer]
    notes: Sequence[str]
    same_tokens: bool = False


def evaluate_outside(plan: OutsidePlan, *, done: Done) -> ReportFiles:
    """Evaluates every system that is not evaluated yet, and writes the report.

    The same command goes on where it was stopped; a model or file whose content has changed is evaluated anew.

    Args:
        plan: What is evaluated.
        done: Told how many responses are there, and whose.

    Raises:
        RunFolderError: The folder cannot be written, or holds another evaluation.
        TrainingError: A score is not finite.
        ModelError: A model cannot be loaded.
    """
    make_writable(plan.out)
    with locked(plan.out):
        claim(plan.out, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
        before = 0
        for system, seed in plan.cells():
            label = f"{system.name} seed {seed}"
            cell = OutsideCell(system, seed, system.digest(seed), plan.out.cell(system.folder, seed))
            if not _is_complete(cell):

                def tell(now: int, label: str = label, before: int = before) -> None:
                    done(before + now, label)

                _evaluate_cell(plan, cell, tell)
            before += responses_expected(plan, system)
            done(before, label)
        _settle_roles(plan)
        return write_report([plan.out], out=plan.out.root)


def responses_expected(plan: OutsidePlan, system: System) -> int:
    """Returns how many responses a cell of the system will have, for the progress."""
    if system.kind == "samples":
        return len(answers_of_file(plan, system)[0])
    return len(plan.prompts) * (1 if system.kind == "arm" else plan.config.evaluation.samples_per_prompt)


def _is_complete(cell: OutsideCell) -> bool:
    """Returns whether the cell is finished and of the content that its system has now."""
    record = read_record(cell.folder)
    if record is None or record.status != "complete" or not (cell.folder / SAMPLES).exists():
        return False
    return record.digests.get("system") == cell.digest


def _evaluate_cell(plan: OutsidePlan, cell: OutsideCell, tell: Callable[[int], None]) -> None:
    began, folder = time.perf_counter(), cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)  # of another content under this name
    answered = _answered(plan, cell, tell)
    by_id = {prompt.id: place for place, prompt in enumerate(plan.prompts)}
    places = [by_id[answer.response.prompt_id] for answer in answered.answers]
    scored, notes = _scored(plan, answered, [plan.read_prompts[place] for place in places])
    result = eval_result(
        plan.task,
        [
            (plan.prompts if plan.run is None else plan.read_prompts)[place] for place in places
        ],  # as the run's arms have them
        [answer.response for answer in answered.answers],
        scored,
        metrics=plan.metrics,
        primary_metric=plan.primary_metric,
    )
    write_jsonl_atomically(folder / SAMPLES, (sample.to_json() for sample in result.samples))
    result = dataclasses.replace(result, problems=[*result.problems, *answered.notes, *notes])
    record = _record(plan, cell, result, seconds=time.perf_counter() - began)
    write_json_atomically(folder / RECORD, record.to_json())
    (folder / ANSWERS).unlink(missing_ok=True)  # the record stands for them now


def _answered(plan: OutsidePlan, cell: OutsideCell, tell: Callable[[int], None]) -> Answered:
    system = cell.system
    if system.kind == "model":
        from marl_bench.outside.generate import generate
        from marl_bench.outside.scoring import shares_tokens

        answers, notes = generate(plan, cell, tell)
        return Answered(answers, notes, shares_tokens(plan, system))
    if system.kind == "server":
        from marl_bench.outside.server import ask_server

        asked, notes = ask_server(plan, cell, tell)
        return Answered(_with_counts(plan, asked), notes)
    if system.kind == "arm":
        return _arm_answers(plan, cell)
    responses, notes = answers_of_file(plan, system)
    return Answered(_with_counts(plan, [Answer(response) for response in responses]), notes)


def _arm_answers(plan: OutsidePlan, of: OutsideCell) -> Answered:
    """Returns the stored samples of a run's arm; what the same run measured on the same data is kept, since its tokens are known no more."""
    system = of.system
    [cell] = [cell for cell in system.cells() if cell.record.seed == of.seed]
    rows = [
        SampleRow(f"{system.name}, sample {number}", each.response) for number, each in enumerate(cell.samples, start=1)
    ]
    responses, notes = matched(
        rows, plan.prompts, known=plan.known_ids, name=system.name, allow_missing=plan.request.allow_missing
    )
    limit, theirs = plan.config.sampling.max_response_tokens, cell.record.budget.get("max_response_tokens")
    if theirs != limit:
        notes = [
            *notes,
            f"Its responses were sampled with a limit of {theirs} tokens; that of this evaluation is {limit}.",
        ]
    same = plan.run is not None and all(cell.record.digests.get(name) == each for name, each in plan.digests.items())
    known = {(each.prompt_id, each.response.sample_index): each.metrics for each in cell.samples} if same else {}
    answers = [Answer(response, known=known.get((response.prompt_id, response.sample_index))) for response in responses]
    return Answered(answers, notes)


def _with_counts(plan: OutsidePlan, answers: Sequence[Answer]) -> list[Answer]:
    """Returns the answers with the tokens of those texts counted that bring no count, where a tokenizer is known."""
    bare = [answer.response for answer in answers if answer.response.token_count is None]
    if plan.scorer.tokenizer is None or not bare:
        return list(answers)
    from marl_bench.outside.scoring import counted_tokens

    counts = iter(counted_tokens(plan, bare))
    return [
        answer
        if answer.response.token_count is not None
        else dataclasses.replace(answer, response=dataclasses.replace(answer.response, token_count=next(counts)))
        for answer in answers
    ]


def _scored(plan: OutsidePlan, answered: Answered, prompts: Sequence[Prompt]) -> tuple[ScoredResponses, list[str]]:
    """Returns score and KL of the answers, and what a report must say of them."""
    answers = answered.answers
    if all(answer.known is not None for answer in answers):
        stored = [answer.known or {} for answer in answers]
        names = [name for name in stored[0] if name.startswith("reward ")]
        parts = {name.removeprefix("reward "): [row.get(name) for row in stored] for name in names}
        score = [row.get(plan.primary_metric) for row in stored] if plan.has_score else None
        return ScoredResponses(score, parts, [row.get("kl") for row in stored]), []
    sources = parse_reward_sources(plan.config.reward.sources)
    needs_models = plan.scorer.fits_prompts or any(source.kind == "classifier" for source in sources)
    if needs_models:
        from marl_bench.outside.scoring import scored_by_models

        return scored_by_models(plan, prompts, answers, same_tokens=answered.same_tokens)
    unknown: list[float | None] = [None] * len(answers)
    if not plan.has_score:
        return ScoredResponses(None, {}, unknown), []
    reward = Reward(
        [RewardPart(each, load_callable_reward(each) if each.kind == "python" else RuleReward()) for each in sources]
    )
    batch = ToScore(plan.task, prompts, [answer.response for answer in answers], None, len(answers))
    found = reward.scores_by_part(batch)
    return ScoredResponses(reward.total(list(found.values())), found, unknown), []


def _record(plan: OutsidePlan, cell: OutsideCell, result: EvalResult, *, seconds: float) -> RunRecord:
    metrics, unscored = aggregate(result, score=plan.primary_metric)
    return RunRecord(
        experiment=plan.out.root.name,
        status="complete",
        task={
            "id": plan.spec.id,
            "version": plan.spec.version,
            "primary_metric": plan.primary_metric,
            "has_oracle": "oracle" in metrics,
        },
        arm=_arm(plan, cell.system),
        seed=cell.seed,
        config_hash=plan.config_hash,
        digests={**plan.digests, "system": cell.digest},
        shared={"data": dict(plan.facts), **{name: dict(each) for name, each in plan.shared.items() if each}},
        budget={"prompts": len(result.samples), "max_response_tokens": plan.config.sampling.max_response_tokens},
        metrics=metrics,
        higher_is_better=dict(result.higher_is_better),
        unscored=unscored,
        problems=list(result.problems),
        costs={"seconds": {"evaluation": seconds}},
        environment=environment(device=_device(), threads=1),
    )


def _arm(plan: OutsidePlan, system: System) -> dict[str, Any]:
    return {
        "name": system.folder,
        "label": system.name,
        "baseline": system.kind,
        "baseline_version": "1",
        "rule": None,
        "rule_version": None,
        "rule_hash": None,
        "options": {},
        "trained": False,
        "role": "start" if system == plan.reference else "other",
        "isolates": "",
        "without_effect": [],
    }


def _settle_roles(plan: OutsidePlan) -> None:
    """Makes the reference of this command the only one in the folder; without one, those of earlier commands stay as they are."""
    if plan.reference is None:
        return
    for folder in sorted(plan.out.cells.glob("*")):
        record = read_record(folder)
        if record is not None:
            role = "start" if record.arm["name"] == plan.reference.folder else "other"
            if record.arm["role"] != role:
                changed = dataclasses.replace(record, arm={**record.arm, "role": role})
                write_json_atomically(folder / RECORD, changed.to_json())


def _device() -> str:
    """Returns the device that models ran on, without loading torch for it."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else "cpu"
