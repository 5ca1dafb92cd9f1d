"""Want of memory: micro-batches are halved, the global batch stays, and what is computed stays the same."""

import dataclasses
import json

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.config import SamplingConfig
from marl_bench.errors import OutOfMemoryError, TrainingError
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.out_of_memory import SAMPLING, SCORING, TRAINING, Halvings, is_out_of_memory
from marl_bench.training.guards import trouble
from marl_bench.training.ppo import PpoRun, train_ppo
from marl_bench.training.progress import NoProgress

CPU_TEXT = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "68719476736 bytes. Error code 12 (Cannot allocate memory)"
)
TRAINS, SCORES, SAMPLES = "training", "scoring", "sampling"


def mode_of(inputs):
    """Returns what a forward pass of the policy is for."""
    if torch.is_grad_enabled():
        return TRAINS
    return SAMPLES if inputs.get("use_cache") else SCORES


def let_fail(actors, when, error=lambda: torch.OutOfMemoryError("CUDA out of memory.")):
    """Makes forward passes of policy and reference fail when `when(mode, rows, number)` says so; returns the (mode, rows) of all."""
    calls = []

    def before(_module, _arguments, inputs):
        rows, mode = len(inputs["input_ids"]), mode_of(inputs)
        calls.append((mode, rows))
        if when(mode, rows, sum(mode == other for other, _ in calls)):
            raise error()

    for model in (actors.policy, actors.reference):
        model.register_forward_pre_hook(before, with_kwargs=True)
    return calls


@dataclasses.dataclass
class Heard(NoProgress):
    notes: list = dataclasses.field(default_factory=list)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def train(make_actors, letter_task, prompts, ppo, tmp_path_factory):
    """Trains and returns (lines of the curve, what was heard, actors, folder)."""

    def run(actors=None, **changes):
        actors, heard, folder = actors or make_actors(), Heard(), tmp_path_factory.mktemp("run")
        run = PpoRun("run", 3, SamplingConfig(max_response_tokens=16), 1.0, folder)
        settings = ppo.model_copy(update={"learning_rate": 1e-4, "critic_learning_rate": 1e-3, **changes})
        train_ppo(run, actors, letter_task, MacroPpo(EveryNTokens(3), settings), prompts, heard)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return lines, heard, actors, folder

    return run


@pytest.fixture(scope="module")
def whole(train):
    """A training with room for everything."""
    return train()


@pytest.fixture(scope="module")
def assert_alike(make_actors):
    """Compares (lines, heard, actors, folder) of two trainings: every figure, then every weight against how far the weights have moved."""
    start = make_actors()

    def compare(ours, theirs):
        for our_line, their_line in zip(ours[0], theirs[0], strict=True):
            for name, value in their_line.items():
                if isinstance(value, float):
                    assert our_line[name] == pytest.approx(value, rel=1e-3, abs=2e-5), name
                elif name != "warnings":
                    assert our_line[name] == value, name
        for model in ("policy", "critic"):
            names = dict(getattr(start, model).named_parameters())
            our_weights, their_weights = (dict(getattr(one[2], model).named_parameters()) for one in (ours, theirs))
            moved = max(float((their_weights[name] - names[name]).detach().abs().max()) for name in names)
            apart = max(float((their_weights[name] - our_weights[name]).detach().abs().max()) for name in names)
            assert moved > 0 and apart <= 0.05 * moved

    return compare


def test_halved_micro_batches_give_the_same_results_and_say_so_once(train, make_actors, whole, assert_alike):
    settings = {TRAINS: "micro_batch_size", SCORES: "score_batch_size", SAMPLES: "sample_batch_size"}
    for mode, setting in settings.items():
        actors = make_actors()
        calls = let_fail(actors, lambda now, rows, _, mode=mode: now == mode and rows > 2)
        halved = train(actors)
        assert_alike(halved, whole)
        # 6 rows fail, then 3, then 2 fit; later updates begin with 2.
        sizes = [rows for now, rows in calls if now == mode]
        assert sizes[:3] == [6, 3, 2] and max(sizes[2:]) == 2
        expected = [
            f"out of memory: ppo.{setting} goes from {before} to {after} from here on; the global batch stays, and results "
            "change by rounding only."
            for before, after in ((6, 3), (3, 2))
        ]
        assert halved[0][0]["warnings"] == [f"out_of_memory: {text}" for text in expected]
        assert "warnings" not in halved[0][1]
        assert halved[1].notes == [f"update 1: {text}" for text in expected]
        assert trouble(halved[3], actors.halvings.notices) == [f"From update 1: {text}" for text in expected]


def test_a_failure_in_the_middle_of_an_optimizer_step_counts_no_gradient_twice(train, make_actors, whole, assert_alike):
    actors = make_actors()
    # The third micro-batch of the first optimizer step fails, when the gradients of two are added up already.
    let_fail(actors, lambda mode, _rows, number: mode == TRAINS and number == 3)
    halved = train(actors, micro_batch_size=2)
    assert halved[0][0]["warnings"][0].startswith("out_of_memory: out of memory: ppo.micro_batch_size goes from 2 to 1")
    assert_alike(halved, whole)


def test_a_failure_in_the_backward_pass_is_recovered_from_too(train, make_actors, whole, assert_alike):
    actors, seen = make_actors(), []

    def fail_once(_module, _grad_output):
        seen.append(None)
        if len(seen) == 1:
            raise RuntimeError(CPU_TEXT)

    actors.policy.model.layers[0].register_full_backward_pre_hook(fail_once)
    halved = train(actors)
    assert "6 to 3" in halved[0][0]["warnings"][0]
    assert_alike(halved, whole)


def test_one_row_that_does_not_fit_is_an_error_that_says_what_to_do(train, make_actors):
    actors = make_actors()
    let_fail(actors, lambda mode, _rows, _number: mode == TRAINS)
    with pytest.raises(
        OutOfMemoryError, match=r"ppo\.micro_batch_size at 1: not even one row fits\. Shorten"
    ) as caught:
        train(actors)
    assert caught.value.exit_status == 1
    with pytest.raises(OutOfMemoryError, match=r"micro_batch_size=6, and guards\.out_of_memory=stop"):
        forbidden = make_actors()
        forbidden.halvings.forbid()
        let_fail(forbidden, lambda mode, _rows, _number: mode == TRAINS)
        train(forbidden)


def test_other_errors_are_not_taken_for_want_of_memory(train, make_actors):
    actors = make_actors()
    let_fail(actors, lambda mode, _rows, _number: mode == TRAINS, error=lambda: RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(actors)
    for error in (
        torch.OutOfMemoryError("x"),
        MemoryError(),
        RuntimeError(CPU_TEXT),
        RuntimeError("HIP out of memory. Tried"),
    ):
        assert is_out_of_memory(error)
    for error in (RuntimeError("mat1 and mat2"), TrainingError("out of memory."), ValueError("CUDA out of memory.")):
        assert not is_out_of_memory(error)


def test_sizes_are_halved_upwards_remembered_by_setting_and_restored():
    halvings, tried = Halvings(), []

    def fits(limit):
        def compute(size):
            tried.append(size)
            if size > limit:
                raise MemoryError
            return size

        return compute

    assert halvings.retried(SCORING, 9, fits(2)) == 2 and tried == [9, 5, 3, 2]
    assert halvings.retried(SCORING, 64, fits(64)) == 2  # remembered
    assert halvings.retried(TRAINING, 64, fits(64)) == 64  # of another kind
    other = Halvings()
    other.load_state_dict(halvings.state_dict())
    assert (other.size(SCORING, 64), other.size(SAMPLING, 64)) == (2, 64)
    # What was told within an update that was cut off still has to come into its line.
    assert other.notices == halvings.notices and len(other.notices) == 3


def test_the_size_of_micro_batches_changes_results_by_rounding_only(train, assert_alike):
    """What is stated: figures to a relative 1e-3 (2e-5 next to 0), weights to 5 % of the farthest way that one has moved."""
    steps = {"minibatches": 2, "ppo_epochs": 2}
    assert_alike(train(micro_batch_size=1, score_batch_size=2, sample_batch_size=4, **steps), train(**steps))
