"""Runners for the tests of execution: small limits, so that what must be stopped is stopped soon."""

import pytest

from marl_bench.execution.programs import Limits, Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner

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
