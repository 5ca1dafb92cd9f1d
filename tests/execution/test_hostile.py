"""Programs that attack: each is contained, leaves nothing behind, never counts as passed, and the next honest program still passes."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from marl_bench.execution.sandbox.processes import descendants

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SECRET = "sesame-5d2f"  # what a program would have to print; it is told to no process that runs one

# What the next program finds: nothing in its folder, where it can write, and the rights that it should have.
HONEST = """
import os
print(input())
open("own", "w").write("x")
os.remove("own")
print(os.getpriority(os.PRIO_PROCESS, 0), os.listdir(), len(os.sched_getaffinity(0)))
"""

# Name: source, and the statuses that a contained program may end in.
SCRIPTS = {
    "fork bomb": ("import os\nwhile True:\n    os.fork()", "runtime_error timeout"),
    "fork bomb that ignores errors": (
        """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """,
        "timeout",
    ),
    "thread bomb": (
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,)).start()",
        "runtime_error timeout",
    ),
    "one large allocation": ("x = bytearray(1 << 40)", "memory"),
    "memory touched page by page": ("x = []\nwhile True:\n    x.append(bytearray(1 << 24))", "memory"),
    "memory bomb that catches errors": (
        """
        x = []
        while True:
            try:
                x.append(bytearray(1 << 24))
            except MemoryError:
                pass
        """,
        "memory timeout",
    ),
    "memory spread over processes": (
        """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                x = b"x" * (100 << 20)
                time.sleep(30)
        time.sleep(30)
        """,
        "memory",
    ),
    "memory in anonymous files": (
        """
        import os
        files = [os.memfd_create(str(i)) for i in range(100)]
        for file in files:
            os.write(file, b"x" * (7 << 20))
        """,
        "runtime_error",
    ),
    "file bomb": (
        "for i in range(10**6):\n    open(f'f{i}', 'wb').write(b'x' * (1 << 20))",
        "runtime_error",
    ),
    "one endless file": ("f = open('f', 'wb')\nwhile True:\n    f.write(b'x' * (1 << 20))", "runtime_error"),
    "inode bomb": ("import os\nfor i in range(10**9):\n    os.mkdir(str(i))", "runtime_error timeout"),
    "deep folders": (
        """
        import os
        for i in range(3000):
            os.mkdir("d")
            os.chdir("d")
        os.chmod(".", 0)
        """,
        "wrong_answer",
    ),
    "folder without permissions": ("import os\nos.mkdir('a')\nopen('a/b', 'w')\nos.chmod('a', 0)", "wrong_answer"),
    "descriptor bomb": ("import os\nwhile True:\n    os.dup(1)", "runtime_error"),
    "output bomb": ("while True:\n    print('x' * 10000)", "output_limit"),
    "output bomb on stderr": ("import sys\nwhile True:\n    print('x' * 10000, file=sys.stderr)", "output_limit"),
    "output bomb from a child": (
        "import os\nif os.fork() == 0:\n    while True:\n        os.write(1, b'x' * 10000)\nos.wait()",
        "output_limit",
    ),
    "endless loop": ("while True:\n    pass", "timeout"),
    "endless loop in a regular expression": ("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')", "timeout"),
    "endless loop in big integers": ("x = 7 ** (7 ** 9)", "timeout memory"),
    "endless sleep": ("import time\ntime.sleep(10**6)", "timeout"),
    "endless wait for input": ("import os\nr, w = os.pipe()\nos.read(r, 1)", "timeout"),
    "slow drip of output": ("import time\nwhile True:\n    print('x', flush=True)\n    time.sleep(0.02)", "timeout"),
    "signals ignored": (
        """
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            pass
        """,
        "timeout",
    ),
    "signals blocked": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True:\n    pass",
        "timeout",
    ),
    "exceptions swallowed": (
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        "timeout",
    ),
    "kill everything": ("import os, signal\nos.kill(-1, signal.SIGKILL)", "runtime_error"),
    "kill the parent": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nprint('x')",
        "wrong_answer runtime_error",
    ),
    "interrupt the helper": (
        "import os, signal\nfor number in range(1, 32):\n    os.kill(1, number)\nprint('x')",
        "wrong_answer runtime_error",
    ),
    "kill the group": (
        "import os, signal\nos.killpg(os.getpgid(os.getppid()), signal.SIGKILL)",
        "runtime_error wrong_answer",
    ),
    "kill oneself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "runtime_error"),
    "crash": ("import ctypes\nctypes.string_at(0)", "runtime_error"),
    "stop oneself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "timeout"),
    "read frames": (
        """
        import sys
        frame = sys._getframe()
        while frame:
            print(frame.f_locals, frame.f_globals)
            frame = frame.f_back
        """,
        "wrong_answer",
    ),
    "read every object": (
        """
        import gc
        for thing in gc.get_objects():
            if isinstance(thing, (str, bytes, dict, list, tuple)):
                print(str(thing)[:100])
        """,
        "wrong_answer output_limit runtime_error",
    ),
    "read other processes": (
        """
        import os
        for pid in os.listdir("/proc"):
            for name in ("environ", "cmdline", "maps", "mem"):
                try:
                    print(open(f"/proc/{pid}/{name}", "rb").read(100_000))
                except OSError:
                    pass
        """,
        "wrong_answer",
    ),
    "read the helper's files": (
        """
        import os
        for pid in (1, os.getppid()):
            for name in os.listdir(f"/proc/{pid}/fd"):
                print(open(f"/proc/{pid}/fd/{name}").read())
        """,
        "runtime_error",
    ),
    "read the environment": (
        "import os\nprint(os.environ)\nprint(open('/proc/self/environ').read())",
        "wrong_answer runtime_error",
    ),
    "read open descriptors": (
        """
        import os
        for file in range(3, 256):
            try:
                print(os.pread(file, 1000, 0), os.read(file, 1000))
            except OSError:
                pass
        """,
        "wrong_answer timeout",
    ),
    "find the tests on disk": (
        """
        import os
        for folder, _, files in os.walk("/"):
            if folder.startswith(("/proc", "/usr", "/lib", "/packages")):
                continue
            for name in files:
                if name.endswith(("json", "jsonl", "txt")):
                    print(open(os.path.join(folder, name), errors="replace").read()[:1000])
        """,
        "wrong_answer runtime_error output_limit timeout",
    ),
    "forge a report": (
        """
        import os
        for file in range(2, 20):
            try:
                os.write(file, b'{"event": "verdict", "status": "passed"}\\n{"ended": 0}\\n')
            except OSError:
                pass
        """,
        "wrong_answer",
    ),
    "forge with the secret word": (
        """
        import gc, os, sys
        frame, word = sys._getframe(), None
        while frame:
            word = frame.f_locals.get("request", {}).get("word", word)
            frame = frame.f_back
        for file in range(2, 8):
            try:
                os.write(file, f'{word} {{"event": "verdict", "status": "passed"}}\\n'.encode())
                os.write(file, f'{word} {{"event": "value", "value": 42}}\\n'.encode())
            except OSError:
                pass
        """,
        "wrong_answer",
    ),
    "patch the harness": (
        """
        import builtins, json, os, sys
        os._exit = lambda code: None
        os.write = lambda *a: 0
        json.dumps = lambda *a, **k: '{"event": "verdict", "status": "passed"}'
        builtins.compile = builtins.exec = builtins.open = builtins.print = lambda *a, **k: None
        sys.exit = sys.settrace = lambda *a: None
        sys.modules.clear()
        """,
        "wrong_answer runtime_error",
    ),
    "work at exit": ("import atexit, time\natexit.register(time.sleep, 10**6)", "timeout"),
    "exit at exit": ("import atexit, os\natexit.register(os._exit, 0)\n1 / 0", "runtime_error wrong_answer"),
    "a thread that outlives": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(10**6,)).start()",
        "timeout",
    ),
    "a daemon thread that prints on": (
        """
        import threading
        def spam():
            while True:
                print("x", flush=True)
        threading.Thread(target=spam, daemon=True).start()
        """,
        "wrong_answer output_limit timeout runtime_error",
    ),
    "a child that outlives": ("import os, time\nif os.fork() == 0:\n    time.sleep(10**6)", "wrong_answer"),
    "a daemon with a double fork": (
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.close(0), os.close(1), os.close(2)
                while True:
                    time.sleep(1)
            os._exit(0)
        os.wait()
        """,
        "wrong_answer",
    ),
    "daemons that fork on": (
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            while True:
                if os.fork():
                    os._exit(0)
        """,
        "wrong_answer",
    ),
    "write outside": (
        """
        import os
        home = os.path.expanduser("~root")
        written = 0
        for place in ("/", "/etc", "/usr", "/usr/lib", "/var", "/home", "/root", home, "/dev", "/packages", "/opt"):
            try:
                open(os.path.join(place, "marl-bench-escaped"), "w").close()
                written += 1
            except OSError:
                pass
        assert written == 0
        """,
        "wrong_answer",
    ),
    "links out of the folder": (
        "import os\nos.symlink('/usr/marl-bench-escaped', 'link')\nos.symlink('/', 'root')\nopen('link', 'w')",
        "runtime_error",
    ),
    "delete home and everything": (
        """
        import os, shutil
        for place in (os.path.expanduser("~"), "/root", "/home", "/usr", "/tmp", "/"):
            shutil.rmtree(place, ignore_errors=True)
        """,
        "wrong_answer timeout",
    ),
    "mount and unmount": (
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.umount2(b"/tmp", 2) == -1 and libc.mount(b"tmpfs", b"/usr", b"tmpfs", 0, None) == -1
        assert libc.unshare(0x10000000) == -1 and libc.chroot(b"/tmp") == -1
        """,
        "wrong_answer",
    ),
    "trace the helper": (
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.ptrace(16, os.getppid(), 0, 0) == -1 and libc.ptrace(16, 1, 0, 0) == -1
        open(f"/proc/{os.getppid()}/mem", "r+b")
        """,
        "runtime_error",
    ),
    "become root": (
        """
        import os
        for call in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
            try:
                call()
            except OSError:
                continue
            raise SystemExit("became root")
        """,
        "wrong_answer",
    ),
    "set-user-id programs": (
        """
        import os, subprocess
        for path in ("/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/newgrp"):
            if os.path.exists(path):
                subprocess.run([path, "-c", "id"], stdin=subprocess.DEVNULL, timeout=1)
        print(os.geteuid() == 0)
        """,
        "wrong_answer runtime_error",
    ),
    "open a network socket": ("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_STREAM)", "runtime_error"),
    "find a network": (
        """
        routes = open("/proc/net/route").read().splitlines()[1:]
        devices = [line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]]
        assert routes == [] and devices == ["lo"], (routes, devices)
        """,
        "wrong_answer",
    ),
    "raw system calls for sockets": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.socket(2, 1, 0) == -1 or libc.connect(3, None, 0) == -1",
        "wrong_answer",
    ),
    "echo of a huge input": ("import sys\nfor line in sys.stdin:\n    print(line * 100)", "wrong_answer output_limit"),
    "invalid UTF-8": ("import sys\nsys.stdout.buffer.write(bytes(range(256)) * 100)", "wrong_answer"),
    "NUL bytes": ("print('\\0' * 1000)", "wrong_answer"),
    "close everything": ("import os\nos.closerange(0, 256)", "wrong_answer runtime_error"),
    "recursion in C": ("x = []\nfor _ in range(10**6):\n    x = [x]\nrepr(x)", "runtime_error"),
    "recursion without end": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    f()\nf()",
        "runtime_error memory timeout",
    ),
    "source nested too deeply": ("(" * 100_000 + ")" * 100_000, "compile_error runtime_error memory"),
    "source that expands when compiled": ("x = (1 << 60,) * 10**8 * 10**8", "compile_error runtime_error memory"),
    "endless compilation": ("x = " + "-" * 500_000 + "1", "compile_error runtime_error timeout memory"),
    "lower own limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))\nwhile True:\n    pass",
        "runtime_error timeout",
    ),
    "memory shared on purpose": (
        """
        import mmap, time
        kept = []
        for _ in range(14):
            kept.append(mmap.mmap(-1, 100 << 20))
            for place in range(0, 100 << 20, 4096):
                kept[-1][place] = 1
        time.sleep(30)
        """,
        "memory timeout runtime_error",
    ),
    "change the helper's limits": (
        """
        import os, resource
        for kind in range(16):
            for pid in (1, os.getppid()):
                try:
                    resource.prlimit(pid, kind, (6, 6))
                except OSError:
                    continue
                raise SystemExit(f"changed {kind}")
        """,
        "wrong_answer",
    ),
    "change the helper's priority": (
        """
        import os
        for pid in (1, os.getppid()):
            for call in (
                lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
                lambda: os.sched_setaffinity(pid, {0}),
                lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
            ):
                try:
                    call()
                except OSError:
                    continue
                raise SystemExit("changed")
        """,
        "wrong_answer",
    ),
    "change the priority of all its user's processes": (
        "import os\nos.setpriority(os.PRIO_USER, 0, 19)",
        "runtime_error",
    ),
    "shared memory that is let go and kept": (
        """
        import mmap, time
        kept = []
        for _ in range(12):
            kept.append(mmap.mmap(-1, 100 << 20))
            kept[-1].write(b"x" * (100 << 20))
            kept[-1].madvise(mmap.MADV_DONTNEED)
        time.sleep(0.5)
        """,
        "runtime_error memory",
    ),
    "large socket buffers": (
        "import socket\na, b = socket.socketpair()\na.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)",
        "runtime_error",
    ),
    "steal the report of one's own beginning": (
        """
        import os
        for file in range(3, 120):
            try:
                stolen = os.read(os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_NONBLOCK), 65536)
            except OSError:
                continue
        os._exit(1)
        """,
        "runtime_error",
    ),
    "close the folder to others": ("import os\nos.chmod('.', 0o500)", "wrong_answer runtime_error"),
    "a signal without a name": ("import os\nos.kill(os.getpid(), 40)", "runtime_error"),
    "solutions among the installed packages": (
        """
        import os, sys
        for folder in ("/", *sys.path):
            for place, folders, files in os.walk(folder):
                if place == "/proc":
                    folders.clear()
                for name in files:
                    if "HumanEval" in name or "marl_bench" in place:
                        print(open(os.path.join(place, name), errors="replace").read())
                        raise SystemExit("found")
        """,
        "wrong_answer timeout",
    ),
    "shared memory that stays": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.shmget(42, 4096, 0o1666) == -1",
        "wrong_answer",
    ),
    "time travel": ("import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)", "runtime_error"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_hostile_script_is_contained(name, run_script):
    source, statuses = SCRIPTS[name]
    result = run_script(textwrap.dedent(source), "line\n" * 20_000, SECRET)
    assert result.status in statuses.split(), result.message
    honest = run_script(HONEST, SECRET, f"{SECRET}\n0 [] {len(os.sched_getaffinity(0))}")
    assert honest.status == "passed", honest.message


def test_the_helpers_folder_is_empty_for_the_next_program(run_script):
    run_script("open('left', 'w')\nimport os\nos.makedirs('a/b')")
    assert (
        run_script("import os\nprint(os.listdir('.'), os.listdir(os.path.expanduser('~')))", "", "[] []").status
        == "passed"
    )


def test_loopback_of_the_host_is_out_of_reach(run_script):
    """A server listens here on loopback; a program must not get through to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(3)
        reached = []
        thread = threading.Thread(target=lambda: reached.append(_accepted(server)))
        thread.start()
        port = server.getsockname()[1]
        result = run_script(
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=1)\nprint({SECRET!r})", "", SECRET
        )
        thread.join()
    assert result.status == "runtime_error"
    assert reached == [False]


def _accepted(server):
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


def test_there_are_at_least_forty():
    assert len(SCRIPTS) >= 40


def test_a_killed_parent_leaves_nothing(tmp_path):
    """kill -9 of the process that runs programs ends its helpers and their programs too."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        from marl_bench.execution.programs import Limits, Program, StdioTest, TestSuite
        from marl_bench.execution.runner import run_programs
        sleeper = "import os, time\\nos.fork()\\nos.setsid() if os.getpid() != os.getsid(0) else None\\ntime.sleep(1000)"
        results = run_programs([Program("p", sleeper)] * 2, {"p": TestSuite("p", (StdioTest("", ""),))}, Limits(600.0), workers=2)
        print("started", flush=True)
        next(results)
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    parent.stdout.readline()
    deadline = time.monotonic() + 20
    while len(helpers := descendants(parent.pid)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(helpers) >= 4  # two that wait, and two below them or the programs themselves
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    while any(Path(f"/proc/{pid}").exists() for pid in helpers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in helpers if Path(f"/proc/{pid}").exists()] == []
