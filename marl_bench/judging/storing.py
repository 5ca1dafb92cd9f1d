"""Writes what a judge said into the experiments of the arms, as `marl_bench.judgements` describes it."""

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path

from marl_bench.judgements import JUDGEMENT, JUDGEMENTS, PAIRS, JudgedPair, Judgement
from marl_bench.judging.answers import Answer
from marl_bench.judging.plan import JudgingPlan
from marl_bench.judging.prompts import prompt_for, prompt_name
from marl_bench.run_dir import RunDir, folder_written_atomically, write_json_atomically, write_jsonl_atomically


def judged_pairs(plan: JudgingPlan, answers: Mapping[str, Answer]) -> list[JudgedPair]:
    """Returns the pairs with their verdicts, in the order of the plan."""
    judged = []
    for pair in plan.pairs:
        keys = [(order, pair.question(order, plan.prompts).key(plan.judge)) for order in pair.orders]
        judged.append(pair.judged([answers[key].verdict(order) for order, key in keys]))
    return judged


def write_judgements(plan: JudgingPlan, answers: Mapping[str, Answer]) -> list[Path]:
    """Writes the folder of the judgement in every experiment that an arm of it stands in; returns the folders.

    The same answers give the same bytes, whenever they were asked for. A folder is replaced as a whole.
    """
    folders = []
    judged = judged_pairs(plan, answers)
    homes = {home.root: home for home in plan.homes.values()}
    for root, home in homes.items():
        rows = [row for row in judged if plan.homes[row.arm].root == root]
        if not rows:
            continue
        folder = root / JUDGEMENTS / plan.name
        with folder_written_atomically(folder) as temporary:
            write_jsonl_atomically(temporary / PAIRS, (row.to_json() for row in rows))
            write_json_atomically(temporary / JUDGEMENT, _judgement(plan, home, rows, answers).to_json())
        folders.append(folder)
    return folders


def unscored_statuses(pairs: Sequence[JudgedPair]) -> collections.Counter[str]:
    """Returns how many verdicts of unscored pairs ended in each status that is no verdict."""
    return collections.Counter(
        verdict.status for pair in pairs if pair.score is None for verdict in pair.verdicts if verdict.winner is None
    )


def _judgement(plan: JudgingPlan, home: RunDir, rows: Sequence[JudgedPair], answers: Mapping[str, Answer]) -> Judgement:
    mine = [pair for pair in plan.pairs if plan.homes[pair.arm].root == home.root]
    questions = [pair.question(order, plan.prompts) for pair in mine for order in pair.orders]
    paid = {key: answers[key] for key in (question.key(plan.judge) for question in questions)}
    prompts = {prompt_name(prompt_for(plan.prompts, row.subset)) for row in rows}
    return Judgement(
        judge=plan.judge.id,
        prompts=sorted(prompts),
        protocol=plan.options.protocol,
        order=plan.options.order,
        seed=plan.options.seed,
        parameters={**plan.judge.parameters(), "pairs": plan.options.pairs},
        cost=round(plan.price.of_answers(paid.values()), 6) if plan.price else None,
        notes=[*plan.notes, *_model_notes(plan, paid.values())],
    )


def _model_notes(plan: JudgingPlan, answers: "collections.abc.Collection[Answer]") -> list[str]:
    models = sorted({answer.model for answer in answers if answer.model})
    if models in ([], [plan.judge.model]):
        return []
    return [f"Asked was {plan.judge.model}; the answers came from {', '.join(models)}."]
