"""Says what this host offers to isolate programs, and what is lost where it does not."""

import dataclasses
import os
import shutil
import sys

from marl_bench.execution.isolation import Isolation
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.sandbox import kernel


@dataclasses.dataclass(frozen=True)
class Feature:
    """One means of isolation.

    Attributes:
        name: What it is.
        present: Whether programs run under it here.
        detail: How, or why not.
        lost: What a program could do without it.
    """

    name: str
    present: bool
    detail: str
    lost: str


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `marl-bench doctor` shows."""

    isolation: Isolation
    pace: float
    features: tuple[Feature, ...]


_NAMESPACES = (
    ("user namespace", kernel.CLONE_NEWUSER, "programs keep the rights of the user who starts them"),
    (
        "PID namespace",
        kernel.CLONE_NEWPID,
        "programs see other processes, and one that hides from its session may live on for a moment",
    ),
    (
        "mount namespace",
        kernel.CLONE_NEWNS,
        "the folder of programs has no fixed size",
    ),
    (
        "network namespace",
        kernel.CLONE_NEWNET,
        "programs reach the network unless the filter of system calls forbids it",
    ),
    (
        "IPC namespace",
        kernel.CLONE_NEWIPC,
        "shared memory may outlive a program unless the filter of system calls forbids it",
    ),
)


def diagnose_host() -> Diagnosis:
    """Starts a helper as a run would, and tries each means alone.

    Raises:
        IsolationError: Programs cannot be run here at all.
    """
    with ProgramRunner(workers=1) as runner:
        isolation, pace = runner.isolation, runner.pace
    inside = isolation.launcher != "process"
    missing = (
        kernel.missing_namespaces((name, flag) for name, flag, _ in _NAMESPACES) if sys.platform == "linux" else {}
    )
    features = []
    for name, _, lost in _NAMESPACES:
        why = missing.get(name) or (
            sys.platform if sys.platform != "linux" else isolation.reasons.get("namespaces", "")
        )
        features.append(Feature(name, inside, f"made by {isolation.launcher}" if inside else f"no: {why}", lost))
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    features += [
        Feature(
            "filter of system calls",
            isolation.seccomp,
            "libseccomp" if isolation.seccomp else "no: install libseccomp (Debian: libseccomp2)",
            "programs may open sockets, trace and signal processes of their user, and change the limits of those that come later",
        ),
        Feature(
            "files out of reach",
            isolation.files_confined,
            ("by mounts" if inside else "by mounts or Landlock")
            if isolation.files_confined
            else "no: neither mounts nor Landlock",
            "programs read and write whatever their user can, installed data sets with their solutions included",
        ),
        Feature(
            "no new privileges",
            sys.platform == "linux",
            "set" if sys.platform == "linux" else "Linux only",
            "set-user-id programs start with their owner's rights",
        ),
        Feature("unprivileged user", True, "programs run as another user than root" if root else "not root", ""),
        Feature(
            "limits",
            sys.platform == "linux",
            "CPU, clock, memory, output, files, processes, core dumps"
            if sys.platform == "linux"
            else "clock and output for certain",
            "programs may use more memory and processes than they may",
        ),
        Feature(
            "/proc of its own",
            isolation.proc,
            "mounted" if isolation.proc else "no",
            "open('/dev/stdin') fails in programs, and memory is limited by process only",
        ),
    ]
    if not shutil.which("bwrap") and not inside:
        features.append(
            Feature(
                "bubblewrap", False, "not installed", "hosts that keep namespaces from programs may allow them to it"
            )
        )
    return Diagnosis(isolation, pace, tuple(features))
