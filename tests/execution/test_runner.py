"""Many programs: in order, as a stream, cancellable, and with nothing kept for what nobody wants."""

import itertools
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from marl_bench.errors import IsolationError, UnknownNameError
from marl_bench.execution.programs import COSTLY_FAILURES, CallTest, CheckTest, Limits, Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner, run_programs
from marl_bench.execution.sandbox.processes import descendants

ECHO = {"p": TestSuite("p", (StdioTest("hello\n", "hello\n"),))}


def test_results_come_in_the_order_of_the_programs(two_workers):
    """Earlier programs sleep longer, so they end later; their results still come first."""
    programs = [Program("p", f"import time\ntime.sleep({(9 - n) / 50})\nprint(input())", n) for n in range(10)]
    results = list(two_workers.run(programs, ECHO))
    assert [result.sample_index for result in results] == list(range(10))
    assert {result.status for result in results} == {"passed"}


def test_programs_are_read_as_they_are_needed(two_workers):
    taken = itertools.count()

    def programs():
        for number in taken:
            yield Program("p", "print(input())", number)

    with two_workers.run(programs(), ECHO) as results:
        assert [next(results).sample_index for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(taken) < 2000  # an endless iterable was not read to its end


def test_work_goes_on_while_nobody_takes_results(two_workers):
    done = threading.Event()

    def programs():
        for number in range(20):
            yield Program("p", "print(input())", number)
        done.set()

    with two_workers.run(programs(), ECHO) as results:
        assert done.wait(timeout=20)
        assert len(list(results)) == 20


def test_closing_cancels_what_runs(two_workers):
    began = time.monotonic()
    with two_workers.run([Program("p", "while True:\n    pass")] * 100, ECHO):
        time.sleep(0.2)
    assert time.monotonic() - began < 10  # 100 programs of a second each on two workers would take 50
    assert [result.status for result in two_workers.run([Program("p", "print(input())")], ECHO)] == ["passed"]


def test_a_new_round_ends_the_one_before(two_workers):
    """Two rounds never share a helper: the first is cancelled, and the second is as if it were alone."""
    first = two_workers.run([Program("p", "import time\ntime.sleep(0.2)\nprint(input())")] * 50, ECHO)
    assert next(first).status == "passed"
    assert [result.status for result in two_workers.run([Program("p", "print(input())")] * 20, ECHO)] == ["passed"] * 20
    assert len(list(first)) < 49


def test_an_error_of_the_consumer_is_the_one_that_is_seen():
    with pytest.raises(KeyError, match="mine"), ProgramRunner(workers=2) as runner:
        for _ in runner.run([Program("p", "import time\ntime.sleep(0.1)\nprint(input())")] * 50, ECHO):
            raise KeyError("mine")
    with pytest.raises(RuntimeError, match="is closed"):
        runner.run([], ECHO)


def test_no_file_stays_open(two_workers):
    """Over many programs, cancelled rounds and lost helpers, this process has as many open files as before."""
    check = CheckTest("def check(c):\n    for n in range(2):\n        assert c(n) == n", "", "f")
    suites = ECHO | {"c": TestSuite("c", (check,))}
    list(two_workers.run([Program("c", "def f(n):\n    return n")] * 4, suites))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        assert {
            result.status for result in two_workers.run([Program("c", "def f(n):\n    return n")] * 10, suites)
        } == {"passed"}
        with two_workers.run([Program("p", "while True: pass")] * 4, suites):
            pass
        for pid in descendants(os.getpid()):
            if _is_helper(pid):
                os.kill(pid, signal.SIGKILL)
    list(two_workers.run([Program("c", "def f(n):\n    return n")] * 4, suites))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # a helper more or less


def test_closing_from_another_thread_ends_the_iteration(two_workers):
    results = two_workers.run([Program("p", "import time\ntime.sleep(100)")] * 4, ECHO)
    threading.Timer(0.3, results.close).start()
    assert len(list(results)) < 4


def test_a_round_leaves_no_thread_and_the_runner_no_process(two_workers):
    before, threads = set(descendants(os.getpid())), threading.active_count()
    with ProgramRunner(Limits(timeout_seconds=1.0), workers=3) as runner:
        assert len(list(runner.run([Program("p", "print(input())")] * 9, ECHO))) == 9
        assert threading.active_count() <= threads
        assert set(descendants(os.getpid())) > before
    assert set(descendants(os.getpid())) == before


def test_run_programs_closes_its_runner():
    before = set(descendants(os.getpid()))
    results = run_programs([Program("p", "print(input())")] * 3, ECHO, Limits(timeout_seconds=1.0), workers=1)
    assert [result.status for result in results] == ["passed"] * 3
    assert set(descendants(os.getpid())) == before


def test_an_error_of_the_iterable_reaches_the_caller(two_workers):
    def programs():
        yield Program("p", "print(input())")
        raise KeyError("broken source")

    with pytest.raises(KeyError, match="broken source"):
        list(two_workers.run(programs(), ECHO))


def test_unknown_problem_is_an_error(two_workers):
    with pytest.raises(UnknownNameError, match="unknown problem 'q'"):
        list(two_workers.run([Program("q", "")], ECHO))


def test_no_programs_give_no_results(two_workers):
    assert list(two_workers.run([], ECHO)) == []


def test_all_tests_run_unless_told_otherwise():
    suite = {"p": TestSuite("p", tuple(CallTest("f", [n], n) for n in range(4)))}
    half = Program("p", "def f(n):\n    return n if n in (0, 3) else -1")
    with ProgramRunner(workers=1) as runner:
        [result] = runner.run([half], suite)
    assert [test.status for test in result.tests] == ["passed", "wrong_answer", "wrong_answer", "passed"]
    assert (result.status, result.passed_share) == ("wrong_answer", 0.5)
    [result] = run_programs([half], suite, workers=1, stop_at_first_failure=True)
    assert [test.status for test in result.tests] == ["passed", "wrong_answer"]
    assert result.passed_share == 0.25


def test_a_program_stops_at_the_failures_of_its_round():
    suite = {"p": TestSuite("p", tuple(CallTest("f", [n], n) for n in range(4)))}
    source = "def f(n):\n    while n == 1:\n        pass\n    return n if n == 3 else -1"
    with ProgramRunner(Limits(timeout_seconds=0.2), workers=1) as runner:
        [stopped] = runner.run([Program("p", source)], suite, stop_at=COSTLY_FAILURES)
        [other] = runner.run([Program("p", source)], suite, stop_at=("runtime_error",))
    assert [test.status for test in stopped.tests] == ["wrong_answer", "timeout"]
    assert [test.status for test in other.tests] == ["wrong_answer", "timeout", "wrong_answer", "passed"]
    # The tests that were skipped count as failed.
    assert (stopped.passed_share, other.passed_share) == (0.0, 0.25)


def test_what_does_not_compile_is_run_once(two_workers):
    suite = {"p": TestSuite("p", tuple(CallTest("f", [n], n) for n in range(3)))}
    [result] = two_workers.run([Program("p", "def f(")], suite)
    assert [test.status for test in result.tests] == ["compile_error"] * 3
    assert len({test.seconds for test in result.tests}) == 1


def test_a_lost_helper_is_replaced_and_its_program_run_again(two_workers, monkeypatch):
    """The helper is killed from outside while its program sleeps: the program is innocent, and gets another chance."""

    def kill_soon():
        time.sleep(0.3)
        # In the order of `descendants`, parents first: a program, which is a fork of its helper and has its command line, that died
        # before it would be seen to die by a helper still alive.
        for pid in descendants(os.getpid()):
            if pid not in before and _is_helper(pid):
                os.kill(pid, signal.SIGKILL)

    before = set(descendants(os.getpid()))
    with ProgramRunner(Limits(timeout_seconds=2.0), workers=1) as runner:
        killer = threading.Thread(target=kill_soon)
        killer.start()
        [result] = runner.run([Program("p", "import time\ntime.sleep(1)\nprint(input())")], ECHO)
        killer.join()
    assert result.status == "passed"


def _is_helper(pid):
    try:
        return b"sandbox.helper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_more_isolation_than_there_is_is_refused():
    with pytest.raises(IsolationError, match="gives level 'process', 'full' is required"):
        ProgramRunner(workers=1, launcher="process", require_isolation="full")


def test_unknown_level_and_comparator_are_errors():
    with pytest.raises(UnknownNameError, match=r"unknown isolation level 'ful'\. Did you mean 'full'\?"):
        ProgramRunner(workers=1, require_isolation="ful")
    with pytest.raises(UnknownNameError, match="unknown comparator 'tokens'"):
        ProgramRunner(workers=1, comparator="tokens")


@pytest.mark.parametrize("field", ["timeout_seconds", "memory_mib", "processes"])
def test_limits_are_positive(field):
    with pytest.raises(ValueError, match=f"{field} is 0; should be above 0 and at most"):
        Limits(**{field: 0})


def test_a_problem_without_tests_is_an_error():
    with pytest.raises(ValueError, match="problem p: has no tests"):
        TestSuite("p", ())


def test_a_slow_host_gives_more_time(monkeypatch):
    """On a host whose calibration loop takes three times as long, a program may use three times the CPU seconds."""
    busy = Program(
        "p", "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end:\n    pass\nprint(input())"
    )
    limits = Limits(timeout_seconds=0.25)
    [result] = run_programs([busy], ECHO, limits, workers=1)
    assert result.status == "timeout"
    with ProgramRunner(limits, workers=1) as probe:
        loop = probe.pace
    monkeypatch.setattr("marl_bench.execution.runner.LOOP_SECONDS", 0.0025 / 3)
    with ProgramRunner(limits, workers=1) as runner:
        assert runner.pace > 2 * loop
        [result] = runner.run([busy], ECHO)
    assert result.status == "passed"


def test_packages_can_be_kept_from_programs():
    program = Program("p", "import numpy\nprint(input())")
    assert [r.status for r in run_programs([program], ECHO, workers=1, packages=("numpy",))] == ["passed"]
    assert [r.status for r in run_programs([program], ECHO, workers=1, packages=())] == ["runtime_error"]


def test_execution_loads_without_torch():
    import subprocess
    import sys

    code = (
        "import sys, marl_bench.execution.runner, marl_bench.execution.grade_file\n"
        "assert not {'torch', 'pandas', 'datasets'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
