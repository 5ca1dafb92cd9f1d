"""Every guard fires in a training that goes wrong in its way, and none in a healthy one."""

import dataclasses
import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.config_guards import GuardConfig
from marl_bench.config_layers import resolve
from marl_bench.errors import ConfigError, TrainingError
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.out_of_memory import Halvings
from marl_bench.training.guards import OF_THE_ROLLOUT, OF_THE_UPDATE, History, Watch, trouble
from marl_bench.training.ppo import train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench.world import World

REACTIONS = (
    "exploding_kl",
    "collapsed_entropy",
    "empty_responses",
    "all_truncated",
    "constant_scores",
    "exploding_critic",
)


class Heard(NoProgress):
    """Keeps the notes, and does something after each update."""

    def __init__(self, after_update=lambda _: None):
        self.notes, self.after_update = [], after_update

    def note(self, text):
        self.notes.append(text)

    def step(self, stage, done, total, **figures):
        self.after_update(done)


class Scores:
    """Scores as a function of the number of the rollout and of the responses."""

    metrics = ()

    def __init__(self, function):
        self.calls, self.function = 0, function

    def score(self, prompts, responses):
        self.calls += 1
        return self.function(self.calls, responses)

    def oracle(self, prompts, responses):
        return None


@dataclasses.dataclass(frozen=True)
class NanLoss(MacroPpo):
    """Macro PPO whose policy loss is NaN in the optimizer steps with these numbers."""

    steps: frozenset = frozenset()
    taken: list = dataclasses.field(default_factory=list)

    def loss(self, minibatch, outputs):
        terms = super().loss(minibatch, outputs)
        self.taken.append(None)
        return dataclasses.replace(terms, policy=terms.policy * math.nan) if len(self.taken) in self.steps else terms


@pytest.fixture
def train(make_actors, make_run, prompts, ppo, letter_task):
    """Trains and returns (lines of the curve, what was heard, actors); `error` is what it has to stop with."""

    def run(
        *,
        error=None,
        guards=None,
        task=None,
        actors=None,
        baseline=None,
        after_update=lambda _: None,
        limit=16,
        **changes,
    ):
        plain = make_run(f"run{next(numbers)}")
        settings = PpoConfig.model_validate({**ppo.model_dump(), **changes})
        run = dataclasses.replace(
            plain, arm="run", guards=GuardConfig(**guards or {}), sampling=SamplingConfig(max_response_tokens=limit)
        )
        actors, heard = actors or make_actors(), Heard(after_update)
        made_baseline = baseline(settings) if baseline else MacroPpo(EveryNTokens(3), settings)

        def do():
            train_ppo(run, actors, task or letter_task, made_baseline, prompts, heard)

        if error is None:
            do()
        else:
            with pytest.raises(TrainingError, match=error) as caught:
                do()
            assert caught.value.exit_status == 1
        path = run.folder / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return lines, heard, actors, run.folder

    numbers = itertools.count()
    return run


def fired(lines):
    return [[warning.partition(":")[0] for warning in line.get("warnings", [])] for line in lines]


def scaled_logits(actors, factor):
    """Multiplies the policy's logits; gives a function that sets the factor."""
    setting = [factor]
    actors.policy.lm_head.register_forward_hook(lambda _module, _inputs, output: output * setting[0])
    return setting


def with_eos_logit(actors, logit):
    """Gives EOS a logit that makes it certain, or impossible."""
    eos = torch.tensor([actors.tokenizer.eos_token_id])
    actors.policy.lm_head.register_forward_hook(lambda _module, _inputs, output: output.index_fill(-1, eos, logit))
    return actors


def test_a_healthy_run_fires_none_and_its_curve_has_no_key_for_them(train):
    lines, heard, _, folder = train(updates=3, minibatches=2, learning_rate=1e-4)
    assert fired(lines) == [[], [], []]
    assert all("warnings" not in line and "skipped_steps" not in line for line in lines)
    assert heard.notes == [] and trouble(folder) == []


def test_a_learning_rate_that_explodes_fires_the_kl_guard_and_goes_on_when_told_to_warn(train):
    lines, heard, _, folder = train(updates=3, learning_rate=1.0, guards={"max_kl": 50.0})
    assert lines[0]["kl"] < 1 and min(lines[1]["kl"], lines[2]["kl"]) > 50
    assert [("exploding_kl" in names) for names in fired(lines)] == [False, True, True]
    assert sum("KL" in note for note in heard.notes) == 1  # said once, not at every update
    [sentence] = [text for text in trouble(folder) if "exploding_kl" in text]
    assert sentence.startswith("The guard exploding_kl fired in 2 of 3 updates, first in update 2: the mean KL")


def test_a_learning_rate_that_explodes_stops_before_anything_is_learnt_from_its_rollout(train):
    error = r"arm 'run', seed 3, update 2: the mean KL .* Lower ppo.learning_rate .*guards.exploding_kl=warn"
    lines, _, actors, _ = train(error=error, guards={"exploding_kl": "stop"}, learning_rate=1.0, updates=2)
    assert [line["update"] for line in lines] == [1]
    _, _, whole, _ = train(learning_rate=1.0, updates=1)
    assert torch.equal(actors.policy.lm_head.weight, whole.policy.lm_head.weight)


def test_kl_limits_are_worked_numbers():
    line = {"kl": 30.0, "entropy": 1.0, "truncated": 0.0, "score_std": 1.0, "critic_loss": 1.0}
    before = History().after({**line, "kl": 2.0})
    kl_alone = {"exploding_kl": OF_THE_ROLLOUT["exploding_kl"]}
    watch = Watch(GuardConfig(max_kl=29.0), None, Halvings())
    watch.history = before
    assert "above 29 " in watch._found(kl_alone, line, "")[0]
    # 70 is 14 times 5 and 7 times 10; from less than 5 it counts as from 5.
    for previous, expected in ((5.0, True), (10.0, False), (0.5, True)):
        watch = Watch(GuardConfig(), None, Halvings())
        watch.history = History().after({**line, "kl": previous})
        assert bool(watch._found(kl_alone, {**line, "kl": 70.0}, "")) == expected


def test_a_policy_that_becomes_sure_of_every_token_fires_the_entropy_guard(train, make_actors):
    actors = make_actors()
    factor = scaled_logits(actors, 1.0)

    def sharpen(_done):
        factor[0] = 100.0

    lines, _, _, _ = train(actors=actors, after_update=sharpen)
    assert lines[1]["entropy"] < 0.1 * lines[0]["entropy"]
    assert "collapsed_entropy" in fired(lines)[1] and "collapsed_entropy" not in fired(lines)[0]
    train(guards={"collapsed_entropy": "stop", "min_entropy": 50.0}, error=r"update 1: the mean entropy is .* below 50")


def test_a_policy_forced_to_eos_fires_the_guard_of_empty_responses(train, make_actors):
    actors = with_eos_logit(make_actors(), 1e4)
    error = "update 1: 100% of the responses are empty, above 50%"
    lines, _, _, _ = train(actors=actors, guards={"empty_responses": "stop"}, error=error)
    assert lines == []
    lines, _, _, _ = train(actors=actors, updates=1)
    assert "empty_responses" in fired(lines)[0] and lines[0]["response_tokens"] == 1


def test_responses_that_are_all_cut_fire_after_so_many_updates_in_a_row(train, make_actors):
    actors = with_eos_logit(make_actors(), -1e4)
    lines, _, _, _ = train(actors=actors, limit=2, updates=3, guards={"updates_in_a_row": 2})
    assert [line["truncated"] for line in lines] == [1.0, 1.0, 1.0]
    assert [("all_truncated" in names) for names in fired(lines)] == [False, True, True]
    error = "update 3: every response was cut .* 3 updates in a row"
    actors = with_eos_logit(make_actors(), -1e4)
    train(actors=actors, limit=2, updates=3, guards={"all_truncated": "stop"}, error=error)


def test_one_score_for_all_responses_fires_after_so_many_updates_in_a_row(train):
    task = Scores(lambda call, responses: [float(row) if call == 2 else 0.5 for row in range(len(responses))])
    lines, _, _, _ = train(task=task, updates=4, guards={"updates_in_a_row": 2})
    # The second update has several scores, so the row begins anew with the third.
    assert [("constant_scores" in names) for names in fired(lines)] == [False, False, False, True]


def test_a_critic_whose_loss_explodes_fires_its_guard(train):
    task = Scores(lambda call, responses: [(1000.0 if call == 2 else 1.0) * row for row in range(len(responses))])
    lines, _, _, _ = train(task=task)
    assert lines[1]["critic_loss"] > 100 * lines[0]["critic_loss"]
    assert ["exploding_critic" in names for names in fired(lines)] == [False, True]
    task = Scores(task.function)
    train(task=task, guards={"exploding_critic": "stop"}, error="update 2: the critic's loss is .*critic_learning_rate")


@pytest.mark.parametrize("name", REACTIONS)
def test_a_guard_that_is_off_does_not_fire(name):
    line = {
        "kl": 1e6,
        "entropy": 1e-9,
        "empty": 1.0,
        "truncated": 1.0,
        "score_std": 0.0,
        "score": 0.0,
        "critic_loss": 1e9,
    }
    history = History(updates=5, entropy=1.0, critic_loss=1.0, kl=1.0, all_truncated=5, constant_scores=5)
    guards = {**OF_THE_ROLLOUT, **OF_THE_UPDATE}
    for reaction, expected in (("off", [other for other in REACTIONS if other != name]), ("warn", list(REACTIONS))):
        watch = Watch(GuardConfig(**{name: reaction}), None, Halvings())
        watch.history = history
        assert [text.partition(":")[0] for text in watch._found(guards, line, "")] == expected


def test_an_infinite_score_stops_the_run(train):
    task = Scores(lambda call, responses: [math.inf if call == 2 else 1.0 * row for row in range(len(responses))])
    lines, _, _, _ = train(task=task, error="score of the response to prompt 'p.*' is inf; it must be finite")
    assert len(lines) == 1


def _nan_at(*steps):
    return lambda settings: NanLoss(EveryNTokens(3), settings, steps=frozenset(steps))


def test_a_loss_that_is_nan_stops_with_the_weights_of_the_last_good_step(train):
    error = "update 1: policy_loss is nan. Lower ppo.learning_rate"
    lines, _, actors, _ = train(minibatches=2, baseline=_nan_at(2), error=error)
    assert lines == []
    assert all(bool(torch.isfinite(weight).all()) for weight in actors.policy.parameters())


def test_a_skipped_step_leaves_the_weights_where_they_were_and_is_counted(train):
    # Without momentum of the first step the second update would differ, so one update is compared.
    _, _, stopped, _ = train(updates=1, minibatches=2, baseline=_nan_at(2), error="policy_loss is nan")
    lines, _, skipped, folder = train(updates=1, minibatches=2, baseline=_nan_at(2), guards={"not_finite": "skip"})
    for ours, theirs in zip(skipped.policy.parameters(), stopped.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(skipped.critic.parameters(), stopped.critic.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (lines[0]["skipped_steps"], lines[0]["skipped_steps_in_a_row"]) == (1, 1)
    assert math.isfinite(lines[0]["policy_loss"])  # of the step that was taken
    assert trouble(folder) == [
        "The guard not_finite fired in 1 of 1 updates, first in update 1: 1 optimizer steps were left out; a loss or gradient was not "
        "finite."
    ]


def test_the_learning_rate_of_an_update_does_not_depend_on_steps_left_out_before(train):
    changes = {"updates": 3, "schedule": "linear"}
    healthy, _, _, _ = train(**changes)
    skipping, _, _, _ = train(baseline=_nan_at(1), guards={"not_finite": "skip"}, **changes)
    assert [line["learning_rate"] for line in skipping] == [line["learning_rate"] for line in healthy]
    assert "policy_loss" not in skipping[0] and "policy_loss" in skipping[1]  # no step, no loss


def test_too_many_steps_left_out_in_a_row_stop_the_run_across_updates(train):
    error = "update 3: policy_loss is nan, and the 2 optimizer steps before were left out"
    guards = {"not_finite": "skip", "max_skipped_steps": 2}
    lines, _, _, _ = train(updates=4, baseline=_nan_at(1, 2, 3), guards=guards, error=error)
    assert [line["skipped_steps_in_a_row"] for line in lines] == [1, 2]
    lines, _, _, _ = train(updates=4, baseline=_nan_at(1, 2, 4), guards=guards)
    assert [line.get("skipped_steps_in_a_row") for line in lines] == [1, 2, None, 1]


@dataclasses.dataclass(frozen=True)
class SecondOfTwo:
    """Stands for the first of two processes, which says what it is made with."""

    first: object

    def gather(self, message):
        return [dataclasses.replace(message, result=self.first), message]


def test_all_processes_remember_the_curve_of_the_first_and_tell_what_any_of_them_halved(tmp_path):
    line = {"kl": 30.0, "entropy": 1.0, "truncated": 1.0, "score_std": 1.0}
    other = {**line, "entropy": 9.0}  # of a cell that this process has made before
    (tmp_path / "metrics.jsonl").write_text(json.dumps(other) + "\n")
    watch = Watch(GuardConfig(), tmp_path, Halvings(), World(1, 2, SecondOfTwo([line, line])))
    watch.remember()
    assert (watch.history.updates, watch.history.entropy, watch.history.all_truncated) == (2, 1.0, 2)
    watch = Watch(GuardConfig(), tmp_path, Halvings(), World(1, 2, SecondOfTwo(["from 4 to 2"])))
    scored = SimpleNamespace(responses=[SimpleNamespace(text="a")])
    assert watch.warned(scored, {**line, "kl": 0.0, "truncated": 0.0}, "")["warnings"] == ["out_of_memory: from 4 to 2"]


def test_what_guards_remember_is_read_from_the_curve_by_another_process(train, make_actors):
    task = Scores(lambda _call, responses: [0.5] * len(responses))
    wrong = {"task": task, "actors": with_eos_logit(make_actors(), -1e4), "limit": 2, "baseline": _nan_at(2)}
    lines, _, _, folder = train(guards={"not_finite": "skip"}, **wrong)
    watch = Watch(GuardConfig(), folder, Halvings())
    watch.remember()
    assert watch.history == History(
        updates=2,
        entropy=lines[0]["entropy"],
        critic_loss=lines[0]["critic_loss"],
        kl=lines[1]["kl"],
        all_truncated=2,
        constant_scores=2,
        skipped_steps=1,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_kl", -1.0),
        ("max_kl_growth", 0.5),
        ("max_skipped_steps", 0),
        ("exploding_kl", "halt"),
        ("max_empty_share", 1.5),
    ],
)
def test_limits_that_make_no_sense_are_refused_with_their_name(key, value):
    with pytest.raises(ConfigError, match=f"guards.{key}"):
        resolve(preset="tiny", overrides=[(f"guards.{key}", value)])


def test_only_what_changes_results_changes_the_hash():
    default = resolve(preset="tiny", overrides=[]).config.hashed_part()
    stopping = resolve(preset="tiny", overrides=[("guards.exploding_kl", "stop"), ("guards.max_kl", 50.0)])
    assert stopping.config.hashed_part() == default
    skipping = resolve(preset="tiny", overrides=[("guards.not_finite", "skip")])
    assert skipping.config.hashed_part() == {**default, "guards": {"not_finite": "skip"}}


def test_off_is_read_as_the_word_it_is():
    """YAML 1.1 takes it for False."""
    config = resolve(preset="tiny", overrides=[("guards.all_truncated", "off"), ("data.chat_template", False)]).config
    assert (config.guards.all_truncated, config.data.chat_template) == ("off", "off")
    with pytest.raises(ConfigError, match=r"data\.source"):
        resolve(preset="tiny", overrides=[("data.source", False)])
