"""Every rule that is installed keeps the contract, and rules that break it are found out."""

import dataclasses
import itertools

import pytest
import torch

from marl_bench.errors import ConfigError
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.contract import CLAUSES, RULE_NEEDS, Speed, check_clause, check_rule, fitted, measure_speed
from marl_bench.macro.segmentation import from_starts
from marl_bench.macro.starts import StartsRule
from marl_bench.macro.termination import EveryNTokens
from marl_bench.planning import build_rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.training.rollout import GATHERED

VARIANTS = [
    "fixed(n=1)",
    "fixed(n=3)",
    "randomized(lengths=[1,2,3,5,10],repeats=2)",
    "perplexity(rule=prefix)",
    "perplexity(rule=token)",
    "entropy(quantile=0.3)",
    "surprise_budget(nats=2)",
    "value_change(threshold=0.5)",
    "vocabulary(k=20)",
]
TEXTS = [plugin.id for plugin in Registry().list("marl_bench.terminations")] + VARIANTS


@pytest.fixture(scope="module", params=TEXTS)
def rule(request, registry):
    try:
        return fitted(build_rule(plan_rule(request.param, registry), registry))
    except ConfigError as error:  # a parser that is not installed names its extra
        assert "install marl-bench[" in str(error)
        pytest.skip(str(error))


@pytest.mark.parametrize("clause", CLAUSES)
def test_every_rule_keeps_the_contract(rule, clause):
    assert check_clause(rule, clause) is None


def test_rollouts_gather_all_that_a_rule_may_need():
    assert RULE_NEEDS <= GATHERED


@dataclasses.dataclass(frozen=True)
class Broken:
    """Cuts as a function of the rollout says, without the care of `StartsRule`."""

    cut: object
    needs: frozenset[str] = frozenset()
    nominal_length: float | None = None

    def fit(self, token_ids):
        return self

    def segment(self, rollout):
        return self.cut(rollout)


def _every_other(rollout):
    mask = rollout.tokens.response_mask
    return from_starts((torch.arange(mask.shape[1]) % 2 == 0).expand_as(mask), mask)


def _onto_padding(rollout):
    parts = _every_other(rollout)
    return dataclasses.replace(parts, macro_ids=parts.macro_ids.clamp(min=0))


def _from_the_end_of_the_batch(rollout):
    mask = rollout.tokens.response_mask
    return from_starts((torch.arange(mask.shape[1]).flip(0) % 4 == 0).expand_as(mask), mask)


def _by_the_first_row(rollout):
    mask = rollout.tokens.response_mask
    return from_starts((rollout.token_ref_log_probs[:1] < -2).expand_as(mask), mask)


def _raises(rollout):
    raise IndexError("no such token")


def _spoils(rollout):
    rollout.token_values.zero_()
    return _every_other(rollout)


def _reads(rollout):
    return from_starts(rollout.token_values > 0, rollout.tokens.response_mask)


def _cut_by_turns():
    turns = itertools.count()
    return lambda rollout: EveryNTokens(2 + next(turns) % 2).segment(rollout)


@pytest.mark.parametrize(
    ("cut", "clause", "problem"),
    [
        (_onto_padding, "partition", "macro action on padding"),
        (_cut_by_turns(), "determinism", "in two ways"),
        (_from_the_end_of_the_batch, "padding invariance", "more padding"),
        (_by_the_first_row, "row independence", "with other rows beside it"),
        (_raises, "other scripts", "no such token"),
        (_raises, "lengths 0 and 1", "raises IndexError: no such token"),
        (_spoils, "purity", "changes the rollout: token_values"),
        (_reads, "needs", "reads values, which its needs do not name"),
    ],
)
def test_a_broken_rule_is_found_out(cut, clause, problem):
    broken = {violation.clause: violation.problem for violation in check_rule(Broken(cut))}
    assert problem in broken[clause]


def test_wrong_needs_and_lengths_break_the_protocol():
    rule = StartsRule(lambda rollout: rollout.tokens.response_mask, needs=frozenset({"mood"}))
    assert "needs mood" in check_clause(rule, "protocol")
    assert "nominal_length is 0.5" in check_clause(
        dataclasses.replace(rule, needs=frozenset(), nominal_length=0.5), "protocol"
    )
    assert "has not all of" in check_clause(object(), "protocol")


def test_a_rule_that_cannot_be_fitted_is_found_out():
    class Unfit(Broken):
        def fit(self, token_ids):
            raise KeyError(next(iter(token_ids))[0])

    [violation] = check_rule(Unfit(_every_other))
    assert (violation.clause, violation.problem[:15]) == ("fit", "raises KeyError")


def test_speed_is_measured_against_fixed_and_bounded_for_a_response():
    assert isinstance(EveryNTokens(3), TerminationRule)
    speed = measure_speed(EveryNTokens(3), responses=2, tokens=4, repeats=1)
    assert speed.seconds > 0 and speed.fixed_seconds > 0
    assert Speed(0.1, 0.001, responses=2, tokens=4).problem is None
    assert "0.060 s for a response of 4 tokens" in Speed(0.12, 0.001, responses=2, tokens=4).problem
    assert Speed(0.1, 0.001, responses=2, tokens=4).ratio == pytest.approx(100)
