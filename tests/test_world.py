"""What processes learn of each other at the end of an exchange; threads stand in for the processes."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from marl_bench.config import RunConfig
from marl_bench.config_layers import with_overrides
from marl_bench.errors import ConfigError, ElsewhereError, TrainingError
from marl_bench.launch import WORKER_ENVIRONMENT, Launch, forget_launch, read_launch
from marl_bench.together import check_shards
from marl_bench.world import ALONE, World


@dataclasses.dataclass
class ThreadChannel:
    """Gathers through a list and a barrier; a process that waits for one that does not come fails after five seconds."""

    rank: int
    messages: list
    barrier: threading.Barrier

    def gather(self, message):
        self.messages[self.rank] = message
        self.barrier.wait()
        found = list(self.messages)
        self.barrier.wait()
        return found


def on_all(size, work):
    """Returns what `work(world)` returns, or the error that it raises, for every process."""
    messages, barrier = [None] * size, threading.Barrier(size, timeout=5)

    def one(rank):
        try:
            return work(World(rank, size, ThreadChannel(rank, messages, barrier)))
        except Exception as error:  # noqa: BLE001 (the test says which)
            return error

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(one, range(size)))


def test_shares_are_all_rows_in_order_and_differ_by_one_row_at_most():
    for size in (1, 2, 3, 7):
        for rows in (0, 1, 5, 12, 13):
            shares = [World(rank, size).share(rows) for rank in range(size)]
            lengths = [share.stop - share.start for share in shares]
            assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
            assert max(lengths) - min(lengths) <= 1


def test_an_exchange_gives_all_results_in_order_to_all():
    assert on_all(3, lambda world: world.exchange("a", lambda: world.rank * 10)) == [[0, 10, 20]] * 3
    assert on_all(3, lambda world: world.together("a", lambda: world.rank * 10)) == [0, 10, 20]
    assert on_all(3, lambda world: world.on_main("a", lambda: f"of {world.rank}")) == ["of 0"] * 3
    assert on_all(3, lambda world: world.any("a", world.rank == 2)) == [True] * 3
    assert on_all(3, lambda world: world.any("a", False)) == [False] * 3


def test_rows_come_back_in_order_and_a_process_without_rows_computes_nothing():
    def work(world):
        return world.in_shares("a", 2, lambda rows: list("xy"[rows]))

    assert on_all(3, work) == [[["x"], ["y"]]] * 3
    assert ALONE.in_shares("a", 2, lambda rows: list("xy"[rows])) == [["x", "y"]]


def test_the_first_that_failed_raises_its_own_error_and_the_others_that_of_another_process():
    def compute(world):
        if world.rank >= 1:
            raise TrainingError(f"bad {world.rank}")

    zero, one, two = on_all(3, lambda world: world.exchange("a", lambda: compute(world)))
    assert isinstance(one, TrainingError) and str(one) == "bad 1"
    for error in (zero, two):
        assert isinstance(error, ElsewhereError) and str(error) == "bad 1" and error.exit_status == 1
    assert "TrainingError" in zero.failure.traceback


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_between_two_inner_exchanges_is_met_by_the_others_in_theirs_and_ends_the_outer_one_on_all(failing):
    def work(world):
        def job():
            world.exchange("inner", lambda: None)
            if world.rank == failing:
                raise ValueError("outside of an inner exchange")
            world.exchange("inner", lambda: None)

        try:
            world.together("outer", job)
        except Exception as error:  # noqa: BLE001 (the test says which)
            # All have left the outer exchange by now, so the next one is the same for all.
            return type(error), world.exchange("next", lambda: world.rank)
        return None

    found = on_all(3, work)
    assert found == [(ValueError if rank == failing else ElsewhereError, [0, 1, 2]) for rank in range(3)]


def test_an_error_within_an_inner_exchange_ends_the_outer_one_on_all():
    def work(world):
        def inner():
            if world.rank == 1:
                raise ConfigError("wrong")

        try:
            world.together("outer", lambda: world.exchange("inner", inner))
        except Exception as error:  # noqa: BLE001 (the test says which)
            return type(error), error.exit_status, world.exchange("next", lambda: 7)
        return None

    assert on_all(2, work) == [(ElsewhereError, 2, [7, 7]), (ConfigError, 2, [7, 7])]


def test_what_all_must_do_together_is_done_as_often_as_by_the_busiest_and_those_behind_go_first():
    def work(world):
        done = []

        def do(name):
            with world.in_turn(name):
                done.append(name)
                world.take_turn("a")  # within a turn the others are there already

        for name in "ab":
            world.turns.offer(name, lambda name=name: done.append(f"along with {name}"))
        mine = [["a", "a", "a"], ["a", "b"], []][world.rank]
        found = world.exchange("work", lambda: [do(name) for name in mine] and len(mine))
        return done, found

    (first, counts), (second, _), (third, _) = on_all(3, work)
    assert counts == [3, 2, []]
    assert first == ["a", "a", "a", "along with b"]
    assert second == ["a", "along with a", "along with a", "b"]
    assert third == ["along with a"] * 3 + ["along with b"]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_failure_reaches_those_that_wait_for_a_turn_and_ends_what_is_around_it_on_all(depth):
    def work(world):
        world.turns.offer("a", lambda: None)

        def job():
            if world.rank == 1 and depth == 2:
                raise ValueError("bad")
            world.exchange("inner", inner)

        def inner():
            world.take_turn("a")
            if world.rank == 1:
                raise ValueError("bad")
            world.take_turn("a")

        try:
            world.together("outer", lambda: world.together("middle", job))
        except Exception as error:  # noqa: BLE001 (the test says which)
            return type(error), str(error), world.exchange("next", lambda: world.rank)
        return None

    zero, one = on_all(2, work)
    assert one == (ValueError, "bad", [0, 1])
    assert zero == (ElsewhereError, "ValueError: bad", [0, 1])


@pytest.mark.parametrize(
    ("changes", "size", "error"),
    [
        ({}, 1, "this run is one process, so there is nobody to divide with; start it with torchrun"),
        (
            {"lora.rank": 8, "memory.offload": True},
            2,
            "do not go together with lora.rank, memory.offload; take that out",
        ),
        ({"sampler.backend": "vllm"}, 2, "do not go together with sampler.backend=vllm; take that out"),
        ({"speed.cpu_matmul": "onednn"}, 2, "do not go together with speed.cpu_matmul; take that out"),
    ],
)
def test_models_that_cannot_be_divided_are_refused(changes, size, error):
    config = with_overrides(RunConfig(), [("memory.shard", True), *changes.items()])
    with pytest.raises(ConfigError, match=error):
        check_shards(config, size)
    check_shards(with_overrides(RunConfig(), list(changes.items())), size)
    check_shards(with_overrides(RunConfig(), [("memory.shard", True)]), 2)


def test_alone_everything_is_the_plain_call():
    assert ALONE.exchange("a", lambda: 3) == [3]
    assert ALONE.on_main("a", lambda: 3) == ALONE.together("a", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError), ALONE.in_lockstep():
        _ = 1 / 0


TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_the_environment_of_torchrun_says_which_process_this_is():
    assert read_launch(TORCHRUN) == Launch(rank=1, local_rank=1, size=2)
    assert read_launch({}) is None
    assert read_launch({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"MASTER_ADDR": None}, "WORLD_SIZE is 2 but MASTER_ADDR is not set; start with torchrun"),
        ({"RANK": None, "LOCAL_RANK": ""}, "RANK, LOCAL_RANK is not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', should be a whole number"),
        ({"ACCELERATE_USE_FSDP": "true"}, "asks for FSDP .* with --set memory.shard=true"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "asks for DeepSpeed"),
        ({"RANK": "2"}, "RANK is 2, should be below WORLD_SIZE 2"),
    ],
)
def test_an_environment_that_is_not_whole_is_refused(change, text):
    environment = {name: value for name, value in {**TORCHRUN, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=text):
        read_launch(environment)


def test_workers_of_a_single_process_do_not_believe_to_be_the_one_that_was_launched():
    environment = {**TORCHRUN, "TORCHELASTIC_RUN_ID": "1", "HOME": "/"}
    forget_launch(environment)
    assert environment == {"HOME": "/"}


def test_what_accelerate_launch_sets_changes_neither_types_nor_losses(monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    for name, value in WORKER_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    accelerator = Accelerator()
    assert (accelerator.mixed_precision, accelerator.gradient_accumulation_steps) == ("no", 1)
