"""Every kind of isolation that this host allows holds what it promises, for root's programs as for a user's."""

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import marl_bench
from marl_bench.errors import IsolationError
from marl_bench.execution import isolation
from marl_bench.execution.isolation import launchers, level_of
from marl_bench.execution.programs import Limits, Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.sandbox import processes
from marl_bench.execution.seccomp_filter import filter_instructions

linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")

FACTS = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def works(call):
    try:
        call()
    except OSError:
        return False
    return True
PLACES = ("/", "/etc", "/usr", "/var/tmp/../tmp", "/home", "/opt", "/dev")
print(json.dumps({
    "root": 0 in os.getresuid() + os.getresgid() or bool(os.getgroups() and 0 in os.getgroups()),
    "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "writes": [place for place in PLACES if works(lambda: open(place + "/escaped", "w"))],
    "socket": works(lambda: socket.socket(socket.AF_INET)),
    "signals_others": works(lambda: os.kill(os.getppid(), 0)),
    "first_process": os.getppid() == 1,
    "environment": sorted(os.environ),
    "secrets": works(lambda: open(SECRET).read()),
}))
"""

# Run by the interpreter of the system, as another user: prints the facts under one kind of isolation.
AS_USER = """
import json, sys
from marl_bench.execution.programs import Limits, Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner
source, launcher = sys.argv[1:]
with ProgramRunner(Limits(timeout_seconds=2.0, memory_mib=256), workers=1, launcher=launcher, packages=()) as runner:
    suite = {"p": TestSuite("p", (StdioTest("", "no such output"),))}
    [result] = runner.run([Program("p", source)], suite)
    print(json.dumps([runner.isolation.level, runner.isolation.files_confined, result.status, result.tests[0].message]))
"""


@pytest.fixture
def secret():
    """A file that every user may read, where programs have no business."""
    with tempfile.TemporaryDirectory(prefix="secret-", dir="/tmp") as folder:
        path = Path(folder) / "key"
        path.write_text("secret")
        Path(folder).chmod(0o755)
        yield path


@pytest.fixture
def open_folder():
    """A folder that every user can read, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="world-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def all_facts(monkeypatch):
    """Messages keep the whole of what a program printed, so that facts can be read from a wrong answer."""
    monkeypatch.setattr("marl_bench.execution.grading._short", lambda text: text)
    monkeypatch.setattr("marl_bench.execution.grading.MOST_MESSAGE", 100_000)


def facts_here(launcher, secret):
    source = FACTS.replace("SECRET", repr(str(secret)))
    suite = {"p": TestSuite("p", (StdioTest("", "no such output"),))}
    with ProgramRunner(Limits(timeout_seconds=2.0, memory_mib=256), workers=1, launcher=launcher) as runner:
        [result] = runner.run([Program("p", source)], suite)
    assert result.status == "wrong_answer", result.tests[0].message
    return runner.isolation, json.loads(eval(result.tests[0].message.removeprefix("printed ")))


@linux
@pytest.mark.parametrize("launcher", ["bubblewrap", "namespaces", "process"])
def test_each_kind_of_isolation_holds_what_it_promises(launcher, secret, all_facts):
    if launcher not in launchers():
        pytest.skip("bubblewrap is not installed, or this is root, for whom it is not used")
    try:
        found, facts = facts_here(launcher, secret)
    except IsolationError as error:
        pytest.skip(f"this host does not allow it: {error}")
    assert found.level == level_of(launcher, seccomp=found.seccomp)
    assert (facts["root"], facts["capabilities"], facts["no_new_privileges"]) == (False, 0, "1")
    assert facts["secrets"] == (not found.files_confined)
    assert facts["environment"] == [
        "HOME",
        "LANG",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONPATH",
        "TMPDIR",
    ]
    assert facts["seccomp"] == ("2" if found.seccomp else "0")
    if found.seccomp:
        assert not facts["socket"]
    if launcher != "process":
        assert (facts["writes"], facts["first_process"]) == (["/var/tmp/../tmp"], True)
    elif found.seccomp:
        assert not facts["signals_others"]


@linux
@pytest.mark.parametrize("launcher", ["bubblewrap", "namespaces", "process"])
def test_another_user_is_isolated_as_well(launcher, open_folder, secret):
    """Root's programs are never less isolated than a user's: here the same facts, found by a user who is not root."""
    python = Path("/usr/bin/python3")
    if os.geteuid() != 0 or not python.exists() or (launcher == "bubblewrap" and not shutil.which("bwrap")):
        pytest.skip("needs root, to become another user, a Python for all users, and what it tests")
    shutil.copytree(
        Path(marl_bench.__file__).parent,
        open_folder / "marl_bench",
        ignore=shutil.ignore_patterns("tiny_base", "*.pyc"),
    )
    shutil.copy(importlib.util.find_spec("pyseccomp").origin, open_folder / "pyseccomp.py")
    for path in [open_folder, *open_folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    grading = open_folder / "marl_bench" / "execution" / "grading.py"
    grading.write_text(
        grading.read_text().replace("MOST_MESSAGE = 200", "MOST_MESSAGE = 100_000").replace("<= 80", "<= 100_000")
    )
    shown = subprocess.run(
        [python, "-c", AS_USER, FACTS.replace("SECRET", repr(str(secret))), launcher],
        env={"PYTHONPATH": str(open_folder), "PATH": os.environ["PATH"]},
        cwd="/",
        user=61_000,
        group=61_000,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    if "SyntaxError" in shown.stderr or "not allow" in shown.stderr or "Operation not permitted" in shown.stderr:
        pytest.skip(
            f"the system's Python is too old, or this host keeps namespaces from users: {shown.stderr.splitlines()[-1]}"
        )
    assert shown.returncode == 0, shown.stderr
    level, files_confined, status, message = json.loads(shown.stdout)
    assert status == "wrong_answer", message
    facts = json.loads(eval(message.removeprefix("printed ")))
    assert level == ("process" if launcher == "process" else "full")
    assert (facts["root"], facts["capabilities"], facts["no_new_privileges"], facts["seccomp"]) == (False, 0, "1", "2")
    assert not facts["socket"]
    if files_confined:
        assert not facts["secrets"]
        assert facts["writes"] == ([] if launcher == "process" else ["/var/tmp/../tmp"])
    assert files_confined or launcher == "process"
    assert facts["first_process"] == (launcher != "process")
    if launcher == "process":
        assert not facts["signals_others"]


@linux
@pytest.mark.parametrize(
    ("source", "statuses"),
    [
        ("import os, signal\nos.kill(-1, signal.SIGKILL)", "runtime_error"),
        ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", "runtime_error"),
        ("import os\nwhile True:\n    os.fork()", "runtime_error timeout"),
        (
            "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(1000)",
            "wrong_answer",
        ),
        ("import os\nopen('x', 'w')\nos.makedirs('a/b')\nos.chmod('a', 0)", "wrong_answer"),
        ("import socket\nsocket.socket()", "runtime_error"),
        ("import ctypes\nassert ctypes.CDLL(None).ptrace(16, __import__('os').getppid(), 0, 0) == -1", "wrong_answer"),
        ("while True:\n    pass", "timeout"),
        ("x = []\nwhile True:\n    x.append(bytearray(1 << 24))", "memory"),
    ],
)
def test_without_namespaces_programs_are_contained_too(source, statuses, bare_runner):
    suite = {"p": TestSuite("p", (StdioTest("42", "42"),))}
    hostile, honest = bare_runner.run(
        [Program("p", source), Program("p", "import os\nassert os.listdir() == []\nprint(input())")], suite
    )
    assert hostile.status in statuses.split(), hostile.tests[0].message
    assert honest.status == "passed", honest.tests[0].message
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes.descendants(os.getpid())]
    assert [command for command in commands if b"sandbox.helper" not in command] == []


@pytest.fixture(scope="module")
def bare_runner():
    limits = Limits(timeout_seconds=1.0, memory_mib=256, processes=32, folder_mib=8)
    try:
        with ProgramRunner(limits, workers=1, launcher="process") as runner:
            if not runner.isolation.seccomp:
                pytest.skip("without a filter of system calls a program could signal the tests themselves")
            yield runner
    except IsolationError as error:
        pytest.skip(f"programs would run as root here, and are not run: {error}")


@linux
@pytest.mark.parametrize("launcher", ["namespaces", "process"])
def test_helpers_outlive_the_round_that_started_them(launcher):
    """The kernel takes the end of the thread that started a process for its parent's; a new round must not find its helpers dead."""
    suite = {"p": TestSuite("p", (StdioTest("", ""),))}
    try:
        with ProgramRunner(workers=2, launcher=launcher) as runner:
            rounds = []
            for _ in range(3):
                assert {
                    result.status for result in runner.run([Program("p", "import time\ntime.sleep(0.1)")] * 4, suite)
                } == {"passed"}
                rounds.append(sorted(processes.descendants(os.getpid())))
    except IsolationError as error:
        pytest.skip(f"this host does not allow it: {error}")
    assert rounds[0] == rounds[1] == rounds[2]


@linux
def test_a_process_that_cannot_be_prepared_is_not_the_programs_fault(monkeypatch):
    """Here a limit that no process can be given: nothing of the program has run, so it has not failed."""
    monkeypatch.setattr(
        "marl_bench.execution.exchange.limits_of", lambda *_: {"cpu_seconds": "many", "memory_bytes": 1 << 30}
    )
    suite = {"p": TestSuite("p", (StdioTest("", ""),))}
    with ProgramRunner(workers=1) as runner:
        [result] = runner.run([Program("p", "pass")], suite)
    assert result.status == "grader_error"
    assert "the process of a program could not be prepared" in result.tests[0].message


def test_levels_are_those_of_the_launcher():
    assert [level_of(launcher, seccomp=True) for launcher in ("process", "namespaces", "bubblewrap")] == [
        "process",
        "full",
        "full",
    ]
    assert level_of("namespaces", seccomp=False) == "namespaces"


def test_bubblewrap_is_preferred_for_users_and_not_used_for_root(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert launchers() == ["bubblewrap", "namespaces", "process"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert launchers() == ["namespaces", "process"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert launchers() == ["process"]
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(IsolationError, match="can be run on Linux and macOS, not on"):
        launchers()


@linux
def test_what_is_missing_is_said(monkeypatch):
    """Where namespaces fail, the next best is taken, and the reason is kept for `doctor`."""
    from marl_bench.execution import runner as runner_module
    from marl_bench.execution.helper_process import HelperProcess

    def start(launcher, limits, **options):
        if launcher != "process":
            raise OSError("unshare: Operation not permitted")
        return HelperProcess(launcher, limits, **options)

    monkeypatch.setattr(runner_module, "HelperProcess", start)
    try:
        with ProgramRunner(workers=1) as runner:
            assert runner.isolation.level == "process"
            assert runner.isolation.reasons["namespaces"] == "unshare: Operation not permitted"
    except IsolationError as error:
        assert "cannot be read by an unprivileged user" in str(
            error
        )  # and root's programs are refused rather than run as root


@linux
def test_without_libseccomp_the_level_is_lower(monkeypatch):
    monkeypatch.setattr("marl_bench.execution.launch.filter_instructions", lambda **_: None)
    with ProgramRunner(workers=1) as runner:
        assert runner.isolation.level in ("namespaces", "process")
        assert not runner.isolation.seccomp


@linux
def test_the_filter_is_made_of_whole_instructions():
    strict, lenient = filter_instructions(signals=False), filter_instructions(signals=True)
    assert len(strict) % 8 == 0 and len(strict) > len(lenient) > 100 * 8 // 2


def test_records_tell_no_text_of_the_host():
    found = isolation.Isolation(
        "process", "process", seccomp=True, proc=False, files_confined=True, reasons={"namespaces": "/home/me"}
    )
    assert found.to_json() == {
        "level": "process",
        "launcher": "process",
        "seccomp": True,
        "proc": False,
        "files_confined": True,
    }
    assert dataclasses.asdict(found)["reasons"] == {"namespaces": "/home/me"}


@pytest.mark.parametrize("has_handles", [True, False])
def test_the_end_of_a_child_is_seen_with_and_without_process_handles(has_handles, monkeypatch):
    import socket

    if not has_handles:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            theirs.recv(1)
            os._exit(7)
        with processes.Ending(child) as ending:
            assert not ending.wait(ours, 0.05)
            assert ending.status is None
            theirs.send(b"x")
            assert ending.wait(ours, 5)
            ours.recv(1)
            ours.send(b"x")
            while ending.status is None:
                ending.wait(ours, 5)
        assert os.waitstatus_to_exitcode(ending.status) == 7
