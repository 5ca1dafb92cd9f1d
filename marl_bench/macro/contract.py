"""The contract of a termination rule, as checks that anyone's rule can be put to."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import torch

from marl_bench.batches import Rollout
from marl_bench.errors import MarlBenchError
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.segmentation import check_partition
from marl_bench.macro.synthetic import Row, random_row, rollout
from marl_bench.macro.termination import EveryNTokens

RULE_NEEDS = frozenset({"logprobs", "ref_logprobs", "entropies", "values", "text", "offsets"})
"""What a rule may ask of a rollout."""

SLOWEST_SECONDS_A_RESPONSE = 0.05
"""A slower rule takes longer than sampling the response does, even with a parser in it."""

_LENGTHS = (12, 0, 1, 30, 2, 64, 7, 0)
_FIT_SEED = 100

Check = Callable[[TerminationRule], str | None]
"""Returns what is wrong, or None."""


@dataclasses.dataclass(frozen=True)
class Violation:
    """A clause of the contract that a rule breaks, and how."""

    clause: str
    problem: str


@dataclasses.dataclass(frozen=True)
class Speed:
    """Seconds that a rule and `fixed(5)` take to cut the same responses."""

    seconds: float
    fixed_seconds: float
    responses: int
    tokens: int

    @property
    def ratio(self) -> float:
        """How many times as long as `fixed(5)`."""
        return self.seconds / self.fixed_seconds

    @property
    def problem(self) -> str | None:
        """What is wrong, or None."""
        each = self.seconds / self.responses
        if each <= SLOWEST_SECONDS_A_RESPONSE:
            return None
        return f"{each:.3f} s for a response of {self.tokens} tokens, allowed are {SLOWEST_SECONDS_A_RESPONSE}"


def fitted(rule: TerminationRule) -> TerminationRule:
    """Returns the rule fitted to random responses."""
    return rule.fit(random_row(_FIT_SEED + length, length).ids for length in _LENGTHS)


def check_rule(rule: TerminationRule) -> list[Violation]:
    """Returns every clause that a rule breaks; an error that it raises breaks the clause. One that cannot be fitted is looked at no further."""
    try:
        rule = fitted(rule)
    except Exception as error:  # noqa: BLE001 (the rule is anyone's code, and its errors are what is looked for)
        return [Violation("fit", f"raises {type(error).__name__}: {error}")]
    return [Violation(clause, problem) for clause in CLAUSES if (problem := check_clause(rule, clause)) is not None]


def check_clause(rule: TerminationRule, clause: str) -> str | None:
    """Returns what is wrong with one clause of `CLAUSES`, or None."""
    try:
        return CLAUSES[clause](rule)
    except MarlBenchError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (the rule is anyone's code, and its errors are what is looked for)
        return f"raises {type(error).__name__}: {error}"


def measure_speed(rule: TerminationRule, *, responses: int = 64, tokens: int = 128, repeats: int = 10) -> Speed:
    """Times a fitted rule and `fixed(5)` on random responses, and takes the fastest of `repeats` calls of each."""
    batch = rollout([random_row(seed, tokens) for seed in range(responses)])

    def fastest(timed: TerminationRule) -> float:
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            timed.segment(batch)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    return Speed(fastest(rule), fastest(EveryNTokens(5)), responses, tokens)


def _rows() -> list[Row]:
    return [random_row(seed, length) for seed, length in enumerate(_LENGTHS)]


def _ids(rule: TerminationRule, batch: Rollout) -> list[list[int]]:
    """Returns the macro ids of every row without padding."""
    return [row[row >= 0].tolist() for row in rule.segment(batch).macro_ids]


def _protocol(rule: TerminationRule) -> str | None:
    if not isinstance(rule, TerminationRule):
        return "has not all of needs, nominal_length, fit and segment"
    unknown = sorted(set(rule.needs) - RULE_NEEDS)
    if unknown:
        return f"needs {', '.join(unknown)}; a rollout can hold {', '.join(sorted(RULE_NEEDS))}"
    if rule.nominal_length is not None and not rule.nominal_length >= 1:
        return f"nominal_length is {rule.nominal_length}; it must be at least 1, or None"
    return None


def _partition(rule: TerminationRule) -> str | None:
    batch = rollout(_rows(), padding=3)
    found = rule.segment(batch)
    check_partition(found, batch.tokens.response_mask)
    if not torch.equal(found.macro_lengths > 0, found.macro_mask):
        return "a macro action is empty, or macro_mask does not say which are real"
    if found.macro_mask.any(dim=1).tolist() != [length > 0 for length in _LENGTHS]:
        return "a response has no macro action, or one without tokens has some"
    if not 0 <= found.fallbacks <= len(_LENGTHS):
        return f"counts {found.fallbacks} fallbacks among {len(_LENGTHS)} responses"
    return None


def _determinism(rule: TerminationRule) -> str | None:
    batch = rollout(_rows())
    return None if _ids(rule, batch) == _ids(rule, batch) else "cuts the same rollout in two ways"


def _purity(rule: TerminationRule) -> str | None:
    batch = rollout(_rows())
    tensors = {
        field.name: tensor
        for record in (batch, batch.tokens)
        for field in dataclasses.fields(record)
        if isinstance(tensor := getattr(record, field.name), torch.Tensor)
    }
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    rule.segment(batch)
    changed = [name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])]
    return f"changes the rollout: {', '.join(changed)}" if changed else None


def _padding(rule: TerminationRule) -> str | None:
    rows = _rows()
    same = _ids(rule, rollout(rows)) == _ids(rule, rollout(rows, padding=9))
    return None if same else "cuts differently where a row has more padding"


def _independence(rule: TerminationRule) -> str | None:
    rows = _rows()
    together = _ids(rule, rollout(rows))
    for index, row in enumerate(rows):
        if _ids(rule, rollout([row]))[0] != together[index]:
            return f"cuts a response of {len(row.ids)} tokens differently with other rows beside it"
    if _ids(rule, rollout(rows[::-1])) != together[::-1]:
        return "cuts differently where the rows stand in another order"
    return None


def _short(rule: TerminationRule) -> str | None:
    for lengths in ([0], [1], [0, 0, 0], [1, 0, 1]):
        batch = rollout([random_row(7, length) for length in lengths], padding=1)
        found = rule.segment(batch)
        check_partition(found, batch.tokens.response_mask)
        if found.macro_lengths.sum(dim=1).tolist() != lengths:
            return f"responses of {lengths} tokens get macro actions of {found.macro_lengths.tolist()} tokens"
    shape = tuple(rule.segment(rollout([random_row(7, 0)])).macro_ids.shape)
    return None if shape == (1, 0) else f"a rollout without any column gets macro_ids of shape {shape}, not (1, 0)"


def _scripts(rule: TerminationRule) -> str | None:
    for ids in ([11, 12, 2, 3, 11], [15, 16, 15], [17, 14, 2], [2], [9, 9, 9], [0, 1]):
        numbers = [-1.0] * len(ids)
        row = Row(ids, numbers, numbers, numbers, numbers)
        batch = rollout([row, random_row(3, 9)])
        try:
            check_partition(rule.segment(batch), batch.tokens.response_mask)
        except Exception as error:  # noqa: BLE001 (the rule is anyone's code, and its errors are what is looked for)
            return f"text {row.text!r}: {error}"
    return None


def _honesty(rule: TerminationRule) -> str | None:
    batch = rollout(_rows())
    parts: Mapping[str, Mapping[str, object]] = {
        "logprobs": {"token_log_probs": torch.full_like(batch.token_log_probs, torch.nan)},
        "ref_logprobs": {"token_ref_log_probs": torch.full_like(batch.token_ref_log_probs, torch.nan)},
        "values": {"token_values": torch.full_like(batch.token_values, torch.nan)},
        "entropies": {"token_entropies": None},
        "text": {"texts": None},
        "offsets": {"token_offsets": None},
    }
    expected = _ids(rule, batch)
    for need in sorted(RULE_NEEDS - rule.needs):
        without = dataclasses.replace(batch, **parts[need])  # type: ignore[arg-type]  # a rollout that lacks a part
        try:
            same = _ids(rule, without) == expected
        except Exception as error:  # noqa: BLE001 (the rule is anyone's code, and its errors are what is looked for)
            return f"reads {need}, which its needs do not name ({type(error).__name__}: {error})"
        if not same:
            return f"reads {need}, which its needs do not name"
    return None


CLAUSES: Mapping[str, Check] = {
    "protocol": _protocol,
    "partition": _partition,
    "determinism": _determinism,
    "purity": _purity,
    "padding invariance": _padding,
    "row independence": _independence,
    "lengths 0 and 1": _short,
    "other scripts": _scripts,
    "needs": _honesty,
}
"""Clause to its check. Speed is measured apart, because a clock is no contract."""
