"""The helper: a small clean process that forks one child a program, watches it, and leaves nothing of it behind.

Started as `python -S -P -m marl_bench.execution.sandbox.helper SOCKET`, the inherited end of a socket pair. It sees
programs and never what they should print or return.
"""

import errno
import gc
import importlib
import os
import signal
import site
import socket
import sys
import time
from typing import Any, NoReturn

from marl_bench.execution.sandbox import checker, kernel, layout, processes, program, wire, world

LINUX = sys.platform == "linux"
WATCH_SECONDS = 0.1
_FRAMES_BELOW_A_PROGRAM = 9
_ENTERING = 99
_SLACK_PROCESSES = 256
_NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
_MODES = {
    "script": program.run_script,
    "serve": program.serve,
    "asserts": program.run_asserts,
    "check": checker.run_check,
}


class Helper:
    """Forks one child after another for the programs that the parent sends."""

    def __init__(self, settings: dict[str, Any], connection: socket.socket) -> None:
        """Takes, of its settings, `filter` (seccomp instructions as hex), `folder` and `isolation`."""
        self._connection = connection
        self._filter = bytes.fromhex(settings["filter"])
        self._folder_mode = os.stat(settings["folder"]).st_mode
        self._folder, self._alone = settings["folder"], settings["isolation"] != "process"
        # Where programs run as the user who started them, that user's other processes count towards the kernel's limit.
        shares_user = settings["isolation"] == "process" and settings["user"] is None
        self._more_processes = processes.tasks_of_user() + _SLACK_PROCESSES if shares_user else 0
        self._harmless_kill = not self._alone and not self._filter
        # Where programs may send signals, the helper itself needs nothing that the filter forbids, so it is installed once for all.
        if self._filter and self._alone:
            kernel.install_seccomp(self._filter)
            self._filter = b""
        self._baseline = processes.private_bytes(os.getpid())

    def serve(self) -> None:
        """Runs programs until the parent closes the connection."""
        while (received := wire.receive(self._connection)) is not None:
            request, files = received
            if "mode" in request:  # else it asks to end a program that has just ended
                self._run(request, files)

    def _run(self, request: dict[str, Any], files: list[int]) -> None:
        began = time.monotonic()
        # The program never has this pipe, so it cannot pretend that its process was not prepared.
        entered, entering = os.pipe()
        child = os.fork()
        if child == 0:
            self._become(request, files, entering)
        for file in (*files, entering):
            os.close(file)
        limits = request["limits"]
        del request, files
        with processes.Ending(child) as ending:
            cause = self._watch(child, ending, limits)
            if cause:
                processes.kill(child, alone=self._alone)
                ending.take()
        assert ending.status is not None and ending.usage is not None
        seconds = time.monotonic() - began
        if not processes.end_all(child, alone=self._alone):
            os._exit(3)  # the parent starts another helper; the PID namespace ends with this one
        clean = self._clean()
        prepared = bool(os.read(entered, 1))
        os.close(entered)
        wire.send(
            self._connection,
            {
                "ended": os.waitstatus_to_exitcode(ending.status),
                "cause": cause,
                "cpu_seconds": ending.usage.ru_utime + ending.usage.ru_stime,
                "seconds": seconds,
                "clean": clean,
                "prepared": prepared,
            },
        )

    def _watch(self, child: int, ending: processes.Ending, limits: dict[str, Any]) -> str:
        """Waits for the child's end; returns why it has to be ended before, `asked`, `memory` or `processes`, else an empty text."""
        while True:
            asked = ending.wait(self._connection, WATCH_SECONDS)
            if ending.status is not None:
                return ""
            if asked:
                if wire.receive(self._connection) is None:
                    processes.end_all(child, alone=self._alone)
                    os._exit(0)
                return "asked"
            found = processes.descendants(os.getpid())
            if len(found) > limits["processes"]:
                return "processes"
            if sum(max(0, processes.private_bytes(pid) - self._baseline) for pid in found) > limits["memory_bytes"]:
                return "memory"

    def _clean(self) -> bool:
        """Empties the folder; returns False if that takes more than removing files, and a new helper is simpler."""
        try:
            if os.stat(self._folder).st_mode != self._folder_mode:
                os.chmod(self._folder, self._folder_mode)
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))
        except OSError:
            return False
        return True

    def _become(self, request: dict[str, Any], files: list[int], entering: int) -> NoReturn:
        """Becomes the program; runs in the child. Whatever fails before a byte is written to `entering` is no fault of the program."""
        try:
            reports = self._enter(request, files, os.dup2(entering, _ENTERING))
            os.write(_ENTERING, b"x")
            os.close(_ENTERING)
            _MODES[request["mode"]](request, reports)
        finally:
            os._exit(70)

    def _enter(self, request: dict[str, Any], files: list[int], kept: int) -> program.Reports:
        self._connection.close()
        os.setsid()
        # Copies above all of them first, so that no target is overwritten before it is copied.
        copies = [os.dup2(file, 64 + place) for place, file in enumerate(files)]
        for place, file in enumerate(copies):
            os.dup2(file, place)
        os.closerange(len(files), kept)
        os.closerange(kept + 1, 4096)
        if request["mode"] != "script":  # its first file is for calls or answers; the program's own input is empty
            request["input"] = os.dup(0)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            request["output"] = 4
        os.chdir(self._folder)
        processes.set_limits(request["limits"], more_processes=self._more_processes)
        if LINUX:
            kernel.die_with_parent(signal.SIGKILL)
        if self._filter:
            kernel.install_seccomp(self._filter)
        elif self._harmless_kill:
            os.kill = os.killpg = _refuse
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.setrecursionlimit(sys.getrecursionlimit() + _FRAMES_BELOW_A_PROGRAM)
        gc.enable()
        return program.Reports(3, request["word"])


def _refuse(*_: object) -> NoReturn:
    """Stands for os.kill where nothing else keeps a program's signals from this user's other processes: against accidents only."""
    raise PermissionError("signals are switched off")


def main() -> None:
    """Isolates this process as its settings say, tells the parent how that went, and serves."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    received = wire.receive(connection)
    if received is None:
        return
    settings = received[0]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.allow_deep_stacks()
    try:
        has_proc = _isolate(settings, connection)
    except OSError as error:
        wire.send(connection, {"error": str(error)})
        return
    if not _filter_works(bytes.fromhex(settings["filter"])):
        settings["filter"] = ""
    _prepare(settings)
    ready = {
        "proc": has_proc,
        "seccomp": bool(settings["filter"]),
        "files_confined": settings["own_world"] or _confine_files(settings),
        "loop_seconds": _loop_seconds(),
    }
    wire.send(connection, ready)
    Helper(settings, connection).serve()


def _isolate(settings: dict[str, Any], connection: socket.socket) -> bool:
    """Enters the isolation asked for; returns True if programs have a /proc. Raises OSError where the host forbids it."""
    if not LINUX:
        _become_user(settings["user"])
        return False
    has_proc = True
    if settings["isolation"] == "namespaces":
        has_proc = _enter_namespaces(settings, connection)
        kernel.drop_capabilities()
    elif settings["isolation"] == "process":
        if settings["own_world"]:
            kernel.unshare(kernel.CLONE_NEWNS)
            world.build(settings)
        _become_user(settings["user"])
        _go_on_in_child(connection)
        kernel.adopt_orphans()
    kernel.no_new_privileges()
    kernel.set_dumpable(False)  # programs run as the same user and must not trace or read the helper
    kernel.die_with_parent(signal.SIGKILL)
    return has_proc


def _go_on_in_child(connection: socket.socket) -> None:
    """Goes on in a child, while this process waits for its end.

    It is the first process of a new PID namespace if one was asked for; and its parent is a process of one thread, as the kernel takes the
    end of the thread that started a process for the end of its parent.
    """
    child = os.fork()
    if child:
        connection.close()
        os.waitpid(child, 0)
        os._exit(0)


def _enter_namespaces(settings: dict[str, Any], connection: socket.socket) -> bool:
    """Enters namespaces of its own; root first builds what programs see, then becomes the user, so both end alike."""
    as_root = os.geteuid() == 0
    if as_root:
        kernel.unshare(kernel.CLONE_NEWNS)
        world.build(settings)
        _become_user(settings["user"])
        kernel.set_dumpable(True)  # else its own /proc files belong to root
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(_NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {user} 1"), ("gid_map", f"1000 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    _go_on_in_child(connection)
    if not as_root:
        world.build(settings)
    socket.sethostname("sandbox")
    return world.mount_proc()


def _become_user(user: int | None) -> None:
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if not os.access(os.__file__, os.R_OK):
        raise PermissionError(
            errno.EACCES, f"Python's library {os.path.dirname(os.__file__)} cannot be read by an unprivileged user"
        )


def _filter_works(instructions: bytes) -> bool:
    """Tries the filter of system calls in a child."""
    if not instructions:
        return False
    child = os.fork()
    if child == 0:
        try:
            kernel.install_seccomp(instructions)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _confine_files(settings: dict[str, Any]) -> bool:
    """Confines this process and its programs with Landlock where they have no file system of their own; returns False if that is impossible."""
    readable = [path for path in (*settings["readable"], "/proc") if os.access(path, os.R_OK)]
    try:
        kernel.confine_files(settings["folder"], readable, [path for path in layout.DEVICES if os.path.exists(path)])
    except (OSError, AttributeError):
        return False
    return True


def _prepare(settings: dict[str, Any]) -> None:
    """Makes this process what a new interpreter is to a program, with common modules loaded once for all."""
    site.setquit()
    site.setcopyright()
    site.sethelper()
    for name in settings["preload"]:
        importlib.import_module(name)
    standard = [path for path in sys.path if path != settings["library"]]
    sys.path[:] = [settings["folder"], *standard, settings["package_path"]]
    sys.argv = ["main.py"]
    _open_streams_over_pipes()
    os.environ.clear()
    os.environ.update(settings["environment"])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("marl_bench", "__main__")]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would copy pages that children share


def _open_streams_over_pipes() -> None:
    """Opens the standard streams that programs inherit; what they are like depends on what stands at 0, 1 and 2 then."""
    kept = [os.dup(file) for file in (0, 1, 2)]
    ends = os.pipe()
    for file, end in enumerate((ends[0], ends[1], ends[1])):
        os.dup2(end, file)
    program.open_standard_streams()
    for file, old in enumerate(kept):
        os.dup2(old, file)
    for file in (*kept, *ends):
        os.close(file)


def _loop_seconds() -> float:
    """Returns the CPU seconds of a fixed loop, the least of three: how fast this host runs Python."""
    times = []
    for _ in range(3):
        began, total = time.process_time(), 0
        for number in range(100_000):
            total += number % 7
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
