"""Which pairs a judge sees: the same prompts for every arm, drawn evenly from the subsets by a seed. Pure."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from marl_bench.interfaces import JudgePrompt
from marl_bench.judgements import JudgedPair, Order, Verdict
from marl_bench.judging.prompts import prompt_for, stratum_of
from marl_bench.judging.questions import Question
from marl_bench.records import Cell, EvalSample

OrderMode = Literal["both", "single"]
ItemId = tuple[str, int, int]
"""Prompt id, seed and sample index: what two arms share."""

ROLE_OF_START, ROLE_OF_TOKEN = "start", "token"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, before they are judged.

    Attributes:
        prompt_id: Id of the prompt.
        subset: Subset of the prompt.
        arm: Folder name of the arm.
        reference: Likewise, of the arm it is held against.
        seed: Seed of both cells.
        sample_index: Which sample of the prompt, in both.
        prompt: Text of the prompt.
        arm_response: Text of the arm's response.
        reference_response: Text of the reference's.
        orders: The orders in which the judge is asked.
    """

    prompt_id: str
    subset: str
    arm: str
    reference: str
    seed: int
    sample_index: int
    prompt: str
    arm_response: str
    reference_response: str
    orders: Sequence[Order]

    @property
    def is_identical(self) -> bool:
        """True if both responses are the same text: a tie about which nobody need be asked, and that would say nothing of position bias."""
        return self.arm_response == self.reference_response

    def question(self, order: Order, prompts: Sequence[JudgePrompt]) -> Question:
        """Returns what the judge is asked in one order."""
        texts = (self.arm_response, self.reference_response)
        first, second = texts if order == "arm_first" else texts[::-1]
        return Question(prompt_for(prompts, self.subset), self.prompt, first, second)

    def judged(self, verdicts: Sequence[Verdict]) -> JudgedPair:
        """Returns the pair with its verdicts, as it is stored."""
        return JudgedPair(
            prompt_id=self.prompt_id,
            subset=self.subset,
            arm=self.arm,
            reference=self.reference,
            seed=self.seed,
            sample_index=self.sample_index,
            arm_words=len(self.arm_response.split()),
            reference_words=len(self.reference_response.split()),
            verdicts=tuple(verdicts),
        )


def choose_pairs(
    cells: Sequence[Cell], prompts: Sequence[JudgePrompt], *, count: int | None, seed: int, order: OrderMode
) -> list[Pair]:
    """Returns the pairs of every arm with SFT and with the token arm.

    All comparisons go through one seeded order of prompts, seeds and samples, so that arms with the same samples are judged on the
    same ones. Every prompt comes once before any comes again, and the first few of the order are spread evenly over subsets.

    Args:
        cells: Complete cells of one task.
        prompts: What the judge is asked; their strata refine the subsets.
        count: Pairs of each comparison; None means all.
        seed: Of the choice and of single orders.
        order: Whether each pair is asked in both orders or in one that its item decides.
    """
    samples: dict[str, dict[ItemId, EvalSample]] = {}
    for cell in cells:
        items = {(sample.prompt_id, cell.record.seed, sample.response.sample_index): sample for sample in cell.samples}
        samples.setdefault(str(cell.record.arm["name"]), {}).update(items)
    ranked = _ranked({item: sample for one in samples.values() for item, sample in one.items()}, prompts, seed=seed)
    return [
        _pair(item, (arm, samples[arm][item]), (reference, samples[reference][item]), _orders(item, order, seed=seed))
        for arm, reference in comparisons(cells)
        for item in [item for item in ranked if item in samples[arm] and item in samples[reference]][:count]
    ]


def comparisons(cells: Sequence[Cell]) -> Iterator[tuple[str, str]]:
    """Yields arm and reference by folder name: every arm against SFT, and every other one against the token arm."""
    roles = {str(cell.record.arm["name"]): str(cell.record.arm.get("role", "macro")) for cell in cells}
    start = next((name for name in sorted(roles) if roles[name] == ROLE_OF_START), None)
    token = next((name for name in sorted(roles) if roles[name] == ROLE_OF_TOKEN), None)
    for reference in (start, token):
        for arm in sorted(roles):
            if reference is not None and arm != reference and not (reference == token and arm == start):
                yield arm, reference


def _ranked(samples: Mapping[ItemId, EvalSample], prompts: Sequence[JudgePrompt], *, seed: int) -> list[ItemId]:
    """Returns the items in an order whose every beginning is spread evenly over strata, and over prompts before seeds and samples."""
    by_prompt: dict[str, list[ItemId]] = {}
    strata: dict[str, list[str]] = {}
    for item in sorted(samples, key=lambda item: _draw(seed, "item", *item)):
        sample = samples[item]
        if sample.prompt_id not in by_prompt:
            wording = prompt_for(prompts, sample.subset)
            strata.setdefault(stratum_of(wording, subset=sample.subset, text=sample.prompt), []).append(
                sample.prompt_id
            )
        by_prompt.setdefault(sample.prompt_id, []).append(item)
    position: dict[str, float] = {}
    for stratum, names in strata.items():
        names.sort(key=lambda name: _draw(seed, "prompt", name))
        # A stratum of a tenth of the prompts stands at every tenth place. Where its first one stands is drawn, so that every prompt has the
        # same chance to be among the first few, those of small strata too.
        offset = _draw(seed, "stratum", stratum) / 2**64
        position |= {name: (rank + offset) / len(names) for rank, name in enumerate(names)}
    keyed = [
        (turn, position[name], _draw(seed, "prompt", name), item)
        for name, items in by_prompt.items()
        for turn, item in enumerate(items)
    ]
    return [item for *_, item in sorted(keyed)]


def _pair(item: ItemId, first: tuple[str, EvalSample], second: tuple[str, EvalSample], orders: Sequence[Order]) -> Pair:
    (arm, sample), (reference, other) = first, second
    return Pair(
        prompt_id=item[0],
        subset=sample.subset,
        arm=arm,
        reference=reference,
        seed=item[1],
        sample_index=item[2],
        prompt=sample.prompt.strip(),
        arm_response=sample.response.text.strip(),
        reference_response=other.response.text.strip(),
        orders=orders,
    )


def _orders(item: ItemId, order: OrderMode, *, seed: int) -> Sequence[Order]:
    if order == "both":
        return ("arm_first", "reference_first")
    # By the item alone, so that all arms are read in the same place.
    return ("arm_first",) if _draw(seed, "order", *item) % 2 else ("reference_first",)


def _draw(seed: int, *what: object) -> int:
    text = "\n".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
