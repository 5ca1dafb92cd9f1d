"""Rollouts from rows written by hand or drawn at random, for checks of termination rules without a model."""

import dataclasses
import random
from collections.abc import Sequence

import torch

from marl_bench.batches import Rollout, Tokens

PAD, EOS = 0, 1
# What each token id adds to the text. 2 and 3 are the first and the second half of an emoji.
PIECES = (
    "",
    "",
    "",
    "😀",
    " The",
    " cat",
    " sat",
    ".",
    ",",
    "\n",
    " 3",
    "宏动",
    "。",
    " ...",
    '."',
    " قال",
    "؟",
    " 👩‍👩‍👧",
    "--",
    "",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One response with all that a rule may read."""

    ids: Sequence[int]
    log_probs: Sequence[float]
    ref_log_probs: Sequence[float]
    values: Sequence[float]
    entropies: Sequence[float]
    seed: int = 0

    @property
    def text(self) -> str:
        """The decoded response."""
        return "".join(PIECES[token] for token in self.ids)

    @property
    def ends(self) -> list[int]:
        """Where each token ends in the text."""
        return [len("".join(PIECES[token] for token in self.ids[: t + 1])) for t in range(len(self.ids))]


def random_row(seed: int, length: int) -> Row:
    """Returns a response of random tokens that ends with EOS half of the times."""
    draw = random.Random(seed)

    def numbers(low: float, high: float) -> list[float]:
        # float32 numbers, so that plain Python and tensors compare the same.
        return torch.tensor([draw.uniform(low, high) for _ in range(length)]).tolist()

    ids = [draw.randrange(2, len(PIECES)) for _ in range(length)]
    if ids and draw.random() < 0.5:
        ids[-1] = EOS
    return Row(ids, numbers(-4, 0), numbers(-4, 0), numbers(-1, 1), numbers(0, 3), seed * 7919 + 1)


def row(length: int, **numbers: Sequence[float]) -> Row:
    """Returns a response of one repeated token with zeros where no numbers are given."""
    zeros = [0.0] * length
    log_probs, ref_log_probs, values, entropies = (
        numbers.get(name, zeros) for name in ("log_probs", "ref_log_probs", "values", "entropies")
    )
    return Row([4] * length, log_probs, ref_log_probs, values, entropies)


def rollout(rows: Sequence[Row], *, padding: int = 0, dtype: torch.dtype = torch.float32) -> Rollout:
    """Returns the rows as a rollout, with `padding` columns more than needed."""
    width = max([len(each.ids) for each in rows], default=0) + padding

    def padded(name: str, fill: float, kind: torch.dtype) -> torch.Tensor:
        lists = [[*getattr(each, name), *[fill] * (width - len(each.ids))] for each in rows]
        return torch.tensor(lists, dtype=kind).view(len(rows), width)

    lengths = torch.tensor([len(each.ids) for each in rows])
    tokens = Tokens(
        prompt_ids=torch.full((len(rows), 1), 5),
        prompt_mask=torch.ones(len(rows), 1, dtype=torch.bool),
        response_ids=padded("ids", PAD, torch.int64),
        response_mask=torch.arange(width) < lengths.unsqueeze(1),
        finished=torch.tensor([bool(each.ids) and each.ids[-1] == EOS for each in rows]),
    )
    return Rollout(
        tokens=tokens,
        token_log_probs=padded("log_probs", 0, dtype),
        token_ref_log_probs=padded("ref_log_probs", 0, dtype),
        token_values=padded("values", 0, dtype),
        row_seeds=[each.seed for each in rows],
        texts=[each.text for each in rows],
        token_entropies=padded("entropies", 0, dtype),
        token_offsets=[list(zip([0, *each.ends], each.ends, strict=False)) for each in rows],
        end_values=torch.zeros(len(rows), dtype=dtype),
    )
