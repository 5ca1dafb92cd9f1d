"""Runners for the tests of execution: small limits, so that what must be stopped is stopped soon."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from marl_bench.execution.programs import Limits, Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.sandbox.processes import descendants

SMALL = Limits(timeout_seconds=1.0, memory_mib=256, output_mib=1, folder_mib=8, processes=32)


@pytest.fixture(scope="session")
def runner():
    with ProgramRunner(SMALL, workers=1) as runner:
        yield runner


@pytest.fixture(scope="session")
def two_workers():
    with ProgramRunner(SMALL, workers=2) as runner:
        yield runner


@pytest.fixture(scope="session")
def run_test(runner):
    """Runs one program in one test and returns the test's result."""

    def run(source, test, **suite):
        suites = {"p": TestSuite("p", (test,), **suite)}
        [result] = runner.run([Program("p", source)], suites)
        return result.tests[0]

    return run


@pytest.fixture(scope="session")
def run_script(run_test):
    """Runs one program as a script and returns the test's result."""
    return lambda source, stdin="", expected="42\n": run_test(source, StdioTest(stdin, expected))


@pytest.fixture(scope="module")
def nothing_is_left(runner):
    """Whatever the suite ran has left no process, file or socket; what a worker keeps is one helper for programs, one for checks."""
    files = _escaped_files()
    sockets = _orphans_sockets()
    yield
    time.sleep(0.2)
    below = [_command(pid) for pid in descendants(os.getpid())]
    helpers = [command for command in below if "sandbox.helper" in command]
    # Each helper is two processes, one outside its PID namespace and the first one in it.
    assert helpers == below and len(helpers) <= 4
    assert _escaped_files() == files
    assert _orphans_sockets() == sockets


def _escaped_files():
    return {
        path
        for place in ("/tmp", "/usr", "/usr/lib", "/var/tmp", "/dev/shm", "/etc")
        for path in Path(place).glob("*escaped*")
    }


def _orphans_sockets():
    """Addresses on which processes without a parent listen, as what a program left behind would; servers of other tests have one."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in _lines(f"/proc/net/{name}")]
    addresses = {f"socket:[{fields[9]}]": fields[1] for fields in lines if fields[3] == "0A"}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            if parent == "1":
                found |= {addresses.get(str(file.readlink())) for file in process.joinpath("fd").iterdir()}
    return found - {None}


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _command(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
