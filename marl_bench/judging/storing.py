"""Writes what a judge said into the experiments of the arms, as `marl_bench.judgements` describes it."""

import collections
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from marl_bench.judgements import IDENTICAL, JUDGEMENT, JUDGEMENTS, PAIRS, JudgedPair, Judgement
from marl_bench.judging.answers import Answer
from marl_bench.judging.plan import JudgingPlan
from marl_bench.judging.prompts import prompt_for, prompt_name
from marl_bench.judging.selection import Pair
from marl_bench.run_dir import folder_written_atomically, write_json_atomically, write_jsonl_atomically

_SAME = Answer("tie", "tie", reason="Both responses are the same text; nobody was asked.", path=IDENTICAL)


def judged_pairs(plan: JudgingPlan, answers: Mapping[str, Answer]) -> list[JudgedPair]:
    """Returns the pairs with their verdicts, in the order of the plan."""
    judged = []
    for pair in plan.pairs:
        if pair.is_identical:
            judged.append(pair.judged([_SAME.verdict(order) for order in pair.orders]))
            continue
        keys = [(order, pair.question(order, plan.prompts).key(plan.judge)) for order in pair.orders]
        judged.append(pair.judged([answers[key].verdict(order) for order, key in keys]))
    return judged


def write_judgements(plan: JudgingPlan, answers: Mapping[str, Answer]) -> list[Path]:
    """Writes the folder of the judgement in every experiment that an arm of it stands in; returns the folders.

    The same answers give the same bytes, whenever they were asked for. A folder is replaced as a whole.
    """
    folders = []
    judged = judged_pairs(plan, answers)
    for root in dict.fromkeys(plan.home(pair).root for pair in plan.pairs):
        mine = [place for place, pair in enumerate(plan.pairs) if plan.home(pair).root == root]
        judgement = _judgement(plan, [plan.pairs[place] for place in mine], answers)
        folder = root / JUDGEMENTS / plan.name
        with folder_written_atomically(folder) as temporary:
            write_jsonl_atomically(temporary / PAIRS, (judged[place].to_json() for place in mine))
            write_json_atomically(temporary / JUDGEMENT, judgement.to_json())
        folders.append(folder)
    return folders


def unscored_statuses(pairs: Sequence[JudgedPair]) -> collections.Counter[str]:
    """Returns how many verdicts of unscored pairs ended in each status that is no verdict."""
    return collections.Counter(
        verdict.status for pair in pairs if pair.score is None for verdict in pair.verdicts if verdict.winner is None
    )


def _judgement(plan: JudgingPlan, pairs: Sequence[Pair], answers: Mapping[str, Answer]) -> Judgement:
    questions = [pair.question(order, plan.prompts) for pair in pairs if not pair.is_identical for order in pair.orders]
    paid = {key: answers[key] for key in (question.key(plan.judge) for question in questions)}
    prompts = {prompt_name(prompt_for(plan.prompts, pair.subset)) for pair in pairs}
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


def _model_notes(plan: JudgingPlan, answers: Collection[Answer]) -> list[str]:
    models = sorted({answer.model for answer in answers if answer.model})
    if models in ([], [plan.judge.model]):
        return []
    return [f"Asked was {plan.judge.model}; the answers came from {', '.join(models)}."]
