"""Workers, their signals and their failures, without any training."""

import os
import signal
import time

import pytest

from marl_bench.display import TimeLeft
from marl_bench.errors import DiskFullError, Interrupted
from marl_bench.estimates.work import Work
from marl_bench.executors import Event, Job, LocalExecutor

SHARED = Job(None)


class FakeExecutor(LocalExecutor):
    """An executor whose workers tell a fixed story."""

    def __init__(self, story):
        self._story, self._processes, self.seen = story, [], []
        self._stop = type(
            "Stop", (), {"asked": False, "set": lambda me: setattr(me, "asked", True), "is_set": lambda me: me.asked}
        )()
        self._listener = self.seen.append

    def _all_events(self, waiting, asked):
        for event in self._story:
            if isinstance(event, int):
                os.kill(os.getpid(), event)
                if asked():
                    self._stop.set()
            else:
                yield event


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_ask_the_workers_to_stop_and_leave_the_handlers_as_they_were(number):
    before = signal.getsignal(number)
    executor = FakeExecutor([Event(SHARED, "started"), number, Event(SHARED, "stopped")])
    with pytest.raises(Interrupted, match="goes on from here"):
        executor.run([SHARED])
    assert [event.kind for event in executor.seen] == ["started", "stopped"]
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once_and_a_second_sigterm_does_not():
    with pytest.raises(Interrupted):
        FakeExecutor([signal.SIGTERM, signal.SIGTERM]).run([SHARED])
    with pytest.raises(KeyboardInterrupt):
        FakeExecutor([signal.SIGTERM, signal.SIGINT]).run([SHARED])


def test_a_full_disk_stops_everything_with_one_error():
    full = Event(SHARED, "failed", error="/run: the disk is full", disk_full=True)
    executor = FakeExecutor([full, Event(SHARED, "stopped")])
    with pytest.raises(DiskFullError, match=r"^/run: the disk is full$"):
        executor.run([SHARED])
    assert executor._stop.is_set()


def test_what_was_done_before_takes_no_time_of_this_process(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    work = Work(stages={"sft": 10.0, "reward model": 0.0, "ppo": 0.0}, evaluation=0.0, trained_cells=1, cells=1)
    left = TimeLeft(work, shared=True, cells=1, jobs=1)
    left.take(Event(SHARED, "resumed", "sft", 6, 10))
    assert left.share_done() == pytest.approx(0.6)
    assert left.seconds() is None
    now[0] += 5
    left.take(Event(SHARED, "step", "sft", 7, 10))
    # One of the four steps that were left took 5 seconds, so three take 15.
    assert left.seconds() == pytest.approx(15)
