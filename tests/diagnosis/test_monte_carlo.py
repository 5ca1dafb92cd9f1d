"""Monte-Carlo values where they are known."""

import dataclasses

import pytest
import torch

from marl_bench.diagnosis.monte_carlo import state_values
from marl_bench.errors import TrainingError


@dataclasses.dataclass(frozen=True)
class ConstantTask:
    """Every response scores the same; those to one prompt have no score at all."""

    unscored: str = ""
    metrics: tuple = ()

    def score(self, prompts, responses):
        return [None if prompt.id == self.unscored else 3.0 for prompt in prompts]


def _values(objective, scored, wanted=None, *, continuations=3, seed=5):
    wanted = scored.rollout.tokens.response_mask if wanted is None else wanted
    return state_values(objective, scored.rollout, scored.prompts, wanted, continuations=continuations, seed=seed)


def test_after_what_decides_the_score_the_value_is_the_score(make_objective, roll):
    objective = make_objective()
    scored = roll(objective)
    found = _values(objective, scored)
    for row, text in enumerate(scored.rollout.texts):
        assert text.strip()
        length = int(scored.rollout.tokens.response_mask[row].sum())
        # The first token holds the first letter, or a space before it.
        known = 2
        assert found.values[row, known:length].tolist() == [float(scored.scores[row])] * (length - known)
        assert not found.variances[row, known : length + 1].any()
        assert found.values[row, length] == 0
    assert found.variances[:, 0].max() > 0


def test_the_value_of_the_first_state_is_the_mean_score_of_responses(make_objective, roll):
    objective = make_objective(tokens=3)
    scored = roll(objective, count=1)
    first = torch.zeros_like(scored.rollout.tokens.response_mask)
    first[:, 0] = True
    found = _values(objective, scored, first, continuations=300)
    other = _values(objective, scored, first, continuations=300, seed=6)
    error = float((found.variances[0, 0] + other.variances[0, 0]).sqrt())
    assert abs(float(found.values[0, 0] - other.values[0, 0])) < 4 * error
    assert found.continuations == 300


def test_the_kl_penalty_of_policy_and_reference_that_agree_is_nothing(make_objective, roll):
    objective = make_objective(task=ConstantTask(), kl_coef=0.5)
    found = _values(objective, roll(objective))
    real = ~found.values.isnan()
    lengths = roll(objective).rollout.tokens.response_mask.sum(dim=1)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found.values[row, :length], torch.full((length,), 3.0).double(), atol=1e-4, rtol=0)
    assert real.any()


def test_a_discount_counts_tokens_to_the_end(make_objective, roll):
    # One token is left before the limit, so the score is one step away: it is not discounted; from two on it may be.
    objective = make_objective(task=ConstantTask(), gamma=0.5, tokens=6)
    scored = roll(objective, count=6)
    found = _values(objective, scored)
    rows = [row for row in range(6) if int(scored.rollout.tokens.response_mask[row].sum()) == 6]
    assert rows
    for row in rows:
        assert float(found.values[row, 5]) == pytest.approx(3)
        assert 3 * 0.5**5 <= float(found.values[row, 0]) <= 3


def test_a_state_has_the_same_value_whatever_else_is_sampled(make_objective, roll):
    scored = roll(make_objective())
    together = _values(make_objective(), scored)
    one = torch.zeros_like(scored.rollout.tokens.response_mask)
    one[1, 0] = True
    alone = _values(make_objective(sample_batch_size=2), scored, one)
    assert float(alone.values[1, 0]) == pytest.approx(float(together.values[1, 0]), abs=1e-6)
    assert alone.values[0, 0].isnan()


def test_continuations_end_at_the_limit_of_the_whole_response(make_objective, roll):
    lengths = []

    @dataclasses.dataclass(frozen=True)
    class Watching(ConstantTask):
        def score(self, prompts, responses):
            lengths.extend(response.token_count for response in responses)
            return super().score(prompts, responses)

    objective = make_objective(task=Watching(), tokens=7)
    scored = roll(objective)
    lengths.clear()
    _values(objective, scored)
    assert max(lengths) == 7


def test_unscored_continuations_are_left_out_and_none_left_is_an_error(make_objective, roll):
    scored = roll(make_objective(task=ConstantTask()))
    with pytest.raises(TrainingError, match="fewer than two continuations with a score"):
        _values(make_objective(task=ConstantTask(unscored="p2")), scored)
