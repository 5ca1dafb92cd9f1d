"""Which pairs a judge sees."""

import collections

import pytest

from marl_bench.errors import ConfigError, RecordError, UnknownNameError
from marl_bench.judging.plan import JudgeOptions, plan_judging
from marl_bench.plugins import Registry


@pytest.fixture
def chosen(make_run):
    """Plans the judging of a run; returns its pairs by comparison."""

    def plan(run_dirs, **options):
        found = plan_judging(run_dirs, JudgeOptions(**{"judge": "openai:m", **options}), Registry())
        pairs = collections.defaultdict(list)
        for pair in found.pairs:
            pairs[pair.arm, pair.reference].append(pair)
        return found, dict(pairs)

    return plan


def named(arm, seed, number):
    return f"{arm} {seed} {number}"


def test_every_arm_meets_sft_and_the_token_arm(make_run, chosen):
    _, pairs = chosen([make_run(text=named)])
    assert list(pairs) == [("macro_ppo-fixed_n5", "sft"), ("token_ppo", "sft"), ("macro_ppo-fixed_n5", "token_ppo")]
    for (arm, reference), found in pairs.items():
        assert all(pair.arm_response == f"{arm} {pair.seed} {pair.prompt_id[1:]}" for pair in found)
        assert all(pair.reference_response == f"{reference} {pair.seed} {pair.prompt_id[1:]}" for pair in found)
        assert all(pair.orders == ("arm_first", "reference_first") for pair in found)


def test_all_arms_are_judged_on_the_same_prompts_and_seeds(make_run, chosen):
    _, pairs = chosen([make_run(40, text=named, seeds=(0, 1))], pairs=15)
    items = {tuple((pair.prompt_id, pair.seed) for pair in found) for found in pairs.values()}
    assert len(items) == 1 and len(*items) == 15
    assert len({prompt for prompt, _ in next(iter(items))}) == 15  # no prompt twice while others are left
    assert {seed for _, seed in next(iter(items))} == {0, 1}


def test_another_seed_chooses_other_pairs_and_more_pairs_hold_the_fewer(make_run, chosen):
    run_dir = make_run(40, text=named)
    one = {pair.prompt_id for pair in chosen([run_dir], pairs=10)[0].pairs}
    assert one == {pair.prompt_id for pair in chosen([run_dir], pairs=10)[0].pairs}
    assert one != {pair.prompt_id for pair in chosen([run_dir], pairs=10, seed=1)[0].pairs}
    assert one < {pair.prompt_id for pair in chosen([run_dir], pairs=20)[0].pairs}


def test_pairs_are_spread_evenly_over_subsets(make_run, chosen):
    # 10 prompts of a, 30 of b: of 8 pairs 2 are of a, of 20 pairs 5.
    run_dir = make_run(40, text=named, subset=lambda number: "a" if number < 10 else "b")
    for count, of_a in ((4, 1), (8, 2), (20, 5)):
        _, pairs = chosen([run_dir], pairs=count)
        assert collections.Counter(pair.subset for pair in pairs["token_ppo", "sft"]) == {"a": of_a, "b": count - of_a}


def test_posts_are_spread_evenly_over_subreddits(make_run, chosen):
    run_dir = make_run(40, text=named, prompt=lambda number: f"SUBREDDIT: r/{'ab'[number % 2]}\n\nPOST: {number}")
    _, pairs = chosen([run_dir], pairs=10)
    assert collections.Counter(pair.prompt[13] for pair in pairs["token_ppo", "sft"]) == {"a": 5, "b": 5}


def test_small_subsets_have_their_chance(make_run, chosen):
    # 20 of 40 prompts stand alone in their subset: of 10 pairs 5 should be such, whatever the seed; with the same place for each it is none.
    run_dir = make_run(40, text=named, arms=("sft", "token_ppo"), subset=lambda number: f"s{min(number, 20)}")
    alone = [
        sum(pair.subset != "s20" for pair in chosen([run_dir], pairs=10, seed=seed)[0].pairs) for seed in range(40)
    ]
    assert 4 < sum(alone) / 40 < 6  # expected 5; of one seed the standard deviation is below 2, of the mean below 0.32


def test_a_single_order_is_that_of_the_item_whatever_the_arm(make_run, chosen):
    _, pairs = chosen([make_run(60, text=named)], order="single")
    orders = {tuple(pair.orders for pair in found) for found in pairs.values()}
    assert len(orders) == 1
    counts = collections.Counter(*orders)
    assert set(counts) == {("arm_first",), ("reference_first",)}
    assert min(counts.values()) > 15  # of 60, a fair coin: less has a chance of 1 in 20,000


def test_the_official_protocol_is_fifty_pairs_in_one_order_and_says_what_that_is_worth(make_run, chosen):
    plan, pairs = chosen([make_run(80, text=named)], protocol="official", pairs=7, order="both")
    assert {len(found) for found in pairs.values()} == {50}
    assert {len(pair.orders) for pair in plan.pairs} == {1}
    assert plan.name == "m-official"
    assert any("±14 points" in note for note in plan.notes)


def test_only_what_both_arms_have_is_judged_and_the_shortfall_is_said(make_run, chosen):
    first = make_run(6, text=named, arms=("sft",), seeds=(0, 1))
    second = make_run(4, text=named, arms=("token_ppo",), seeds=(1, 2), name="second")
    plan, pairs = chosen([first, second], pairs=10)
    assert {(pair.prompt_id, pair.seed) for pair in pairs["token_ppo", "sft"]} == {(f"p{n}", 1) for n in range(4)}
    assert plan.home(plan.pairs[0]) == second
    assert "Asked for 10 pairs of each comparison; there are 4." in plan.notes


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"judge": "gpt-4o"}, ConfigError, "give openai:MODEL"),
        ({"judge": "openai:"}, ConfigError, "give openai:MODEL"),
        ({"judge": "claude:x"}, ConfigError, "give openai:MODEL"),
        ({"max_tokens": 5}, ConfigError, "cuts answers before their verdict"),
        ({"arms": ["token_pp"]}, UnknownNameError, "Did you mean 'token_ppo'"),
        ({"arms": ["sft"]}, ConfigError, "no pair to judge"),
        ({"name": "../x"}, ConfigError, "use letters"),
    ],
)
def test_wrong_options_say_what_is_right(options, error, says, make_run, chosen):
    with pytest.raises(error, match=says):
        chosen([make_run(text=named)], **options)


def test_runs_that_do_not_belong_together_are_refused(make_run, chosen):
    first, other = make_run(text=named), make_run(text=named, name="other")
    with pytest.raises(RecordError, match="stands in two of the runs"):
        chosen([first, other])
    with pytest.raises(RecordError, match="of 2 tasks"):
        chosen([first, make_run(text=named, name="hh", task="hh", seeds=(7,))])
    with pytest.raises(RecordError, match="no experiment there"):
        chosen([type(first)(first.root.parent / "nothing")])


def test_a_task_without_prompts_is_judged_by_the_general_one(make_run, chosen):
    plan, _ = chosen([make_run(text=named, task="apps")])
    assert [prompt.id for prompt in plan.prompts] == ["general"]


def test_published_prices_are_those_of_the_id_or_of_it_without_its_date(make_run, chosen):
    run_dir = make_run(text=named)
    plan, _ = chosen([run_dir], judge="openai:gpt-4o-2024-11-20")
    assert (plan.price.prompt, plan.price.completion) == (2.5, 10.0)
    assert plan.price.of(1_000_000, 100_000) == 3.5  # 2.5 + 10 / 10
    assert chosen([run_dir], judge="openai:gpt-4o-2024-05-13")[0].price.prompt == 5.0
    assert chosen([run_dir], judge="openai:my-model")[0].price is None
    assert chosen([run_dir], judge="openai:gpt-4o", own_server=True)[0].price is None
