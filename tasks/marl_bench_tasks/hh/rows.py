"""Rows of Anthropic/hh-rlhf or Dahoas/full-hh-rlhf, checked: what each can be used for, and why not for more."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench.errors import RowError
from marl_bench_tasks.hh.transcripts import Transcript, Turn, has_turns, read_transcript

PAIR_FLAWS: Mapping[str, str] = {
    "identical": "chosen and rejected are the same; used as prompts",
    "differs_earlier": "the dialogues differ before the last turn; the chosen one is used as prompt and for SFT",
    "empty_chosen": "the chosen answer is empty; used as prompts",
    "empty_rejected": "the rejected answer is empty; the chosen one is used as prompt and for SFT",
    "unreadable_rejected": "the rejected transcript has no last answer; the chosen one is used as prompt and for SFT",
}
"""Why a row is no preference pair, and what it still is."""

# What was chosen over the same text, or over an answer by saying nothing, is no example of a good answer.
_FLAWS_WITHOUT_ANSWER = ("identical", "empty_chosen")


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        id: Unique by dialogue.
        group: What must not stand in two stages: the first human turn, in lower case and with single spaces.
        split: `train` or another.
        subset: Part of the data set, or empty.
        where: Its place, for notes.
        dialogue: Text up to and including the last `Assistant:`.
        turns: The turns of the dialogue.
        chosen: The preferred answer.
        rejected: The other one.
        flaw: A key of `PAIR_FLAWS`, or empty for a preference pair.
        oddities: Of the chosen transcript.
        sft_answer: What SFT learns, the preferred answer in real data; None where there is no such example.
        reference: What ROUGE compares with; as `sft_answer`.
        facts: What the gold score needs, in embedded data.
    """

    id: str
    group: str
    split: str
    subset: str
    where: str
    dialogue: str
    turns: Sequence[Turn]
    chosen: str
    rejected: str
    flaw: str
    oddities: frozenset[str]
    sft_answer: str | None
    reference: str | None
    facts: Mapping[str, Any] | None


def check_row(row: Mapping[str, Any], *, split: str, where: str) -> Row:
    """Returns a raw row with its fields checked; a row with the field `prompt` is one of Dahoas/full-hh-rlhf.

    Raises:
        RowError: A required field is missing or wrong; the text names `where` and the field.
    """
    chosen, rejected, flaw = _answers(row, where) if "prompt" in row else _transcripts(row, where)
    answer = None if flaw in _FLAWS_WITHOUT_ANSWER else chosen.answer
    digest = hashlib.sha256(chosen.dialogue.encode()).hexdigest()[:12]
    subset = row.get("subset") or ""
    return Row(
        id=row.get("id") or f"{subset or 'dialogue'}-{digest}",
        group=" ".join(chosen.first_human_turn.lower().split()),
        split=split,
        subset=subset,
        where=where,
        dialogue=chosen.dialogue,
        turns=chosen.turns,
        chosen=chosen.answer,
        rejected=rejected,
        flaw=flaw,
        oddities=chosen.oddities,
        sft_answer=row.get("sft_answer") or answer,
        reference=row.get("reference_answer") or answer,
        facts=row.get("facts"),
    )


def _transcripts(row: Mapping[str, Any], where: str) -> tuple[Transcript, str, str]:
    """Returns the chosen transcript, the rejected answer and the flaw of two whole transcripts."""
    chosen = read_transcript(_text(row, "chosen", where), where=where, field="chosen")
    try:
        rejected = read_transcript(_text(row, "rejected", where), where=where, field="rejected")
    except RowError as error:
        if error.reason == "without_rejected":
            raise
        return chosen, "", "unreadable_rejected"
    differ = chosen.dialogue.split() != rejected.dialogue.split()
    return chosen, rejected.answer, _flaw(chosen.answer, rejected.answer, differs_earlier=differ)


def _answers(row: Mapping[str, Any], where: str) -> tuple[Transcript, str, str]:
    """Returns the dialogue with the chosen answer, the rejected answer and the flaw of a prompt and two answers."""
    prompt = read_transcript(_text(row, "prompt", where), where=where, field="prompt")
    if prompt.answer:
        raise RowError(
            f"{where}: field prompt goes on after the last 'Assistant:' with {prompt.answer[:60]!r}; should end there.",
            reason="prompt_with_answer",
        )
    answers = {}
    for field in ("chosen", "rejected"):
        answers[field] = _text(row, field, where, may_be_empty=True).strip()
        if has_turns(answers[field]):
            raise RowError(
                f"{where}: field {field} holds further turns: {answers[field][:60]!r}; should be one answer.",
                reason="answer_with_turns",
            )
    flaw = _flaw(answers["chosen"], answers["rejected"], differs_earlier=False)
    return dataclasses.replace(prompt, answer=answers["chosen"]), answers["rejected"], flaw


def _flaw(chosen: str, rejected: str, *, differs_earlier: bool) -> str:
    if not chosen:
        return "empty_chosen"
    if differs_earlier:
        return "differs_earlier"
    if not rejected:
        return "empty_rejected"
    return "identical" if chosen == rejected else ""


def _text(row: Mapping[str, Any], field: str, where: str, *, may_be_empty: bool = False) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not (may_be_empty or value.strip()):
        raise RowError(f"{where}: field {field} is {value!r}; should be a text.", reason=f"without_{field}")
    return value
