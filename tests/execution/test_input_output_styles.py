"""Every common way to read and print: the right program is accepted, the same one with a wrong sum is not."""

import textwrap

import pytest

STDIN = "3\n1 2 3\n4 5 6\n7 8 9\n"
EXPECTED = "6\n15\n24\n"

STYLES = {
    "input": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
    """,
    "main guard": """
        def main():
            for _ in range(int(input())):
                print(sum(map(int, input().split())))
        if __name__ == "__main__":
            main()
    """,
    "sys.stdin lines": """
        import sys
        next(sys.stdin)
        for line in sys.stdin:
            print(sum(map(int, line.split())))
    """,
    "sys.stdin.readline": """
        import sys
        input = sys.stdin.readline
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
    """,
    "readline until empty": """
        import sys
        sys.stdin.readline()
        while True:
            line = sys.stdin.readline()
            if not line:
                break
            print(sum(map(int, line.split())))
    """,
    "sys.stdin.read": """
        import sys
        first, *rows = sys.stdin.read().splitlines()
        print("\\n".join(str(sum(map(int, row.split()))) for row in rows))
    """,
    "sys.stdin.readlines": """
        import sys
        for row in sys.stdin.readlines()[1:]:
            print(sum(map(int, row.split())))
    """,
    "sys.stdin.buffer.read": """
        import sys
        numbers = list(map(int, sys.stdin.buffer.read().split()))
        for i in range(numbers[0]):
            print(sum(numbers[1 + 3 * i : 4 + 3 * i]))
    """,
    "sys.stdin.buffer.readline": """
        import sys
        read = sys.stdin.buffer.readline
        for _ in range(int(read())):
            print(sum(map(int, read().split())))
    """,
    "open(0)": """
        first, *rows = open(0).read().split("\\n")
        for row in rows[: int(first)]:
            print(sum(map(int, row.split())))
    """,
    "open(0, 'rb')": """
        rows = open(0, "rb").readlines()
        for row in rows[1:]:
            print(sum(map(int, row.split())))
    """,
    "lines of open(0)": """
        for row in list(open(0))[1:]:
            print(sum(map(int, row.split())))
    """,
    "open('/dev/stdin')": """
        for row in open("/dev/stdin").read().splitlines()[1:]:
            print(sum(map(int, row.split())))
    """,
    "os.read(0)": """
        import os
        rows = os.read(0, 10**6).decode().splitlines()
        for row in rows[1:]:
            print(sum(map(int, row.split())))
    """,
    "os.read until empty": """
        import os
        data = b""
        while part := os.read(0, 4):
            data += part
        for row in data.split(b"\\n")[1:4]:
            os.write(1, b"%d\\n" % sum(map(int, row.split())))
    """,
    "os.fdopen": """
        import os
        for row in os.fdopen(0).readlines()[1:]:
            print(sum(map(int, row.split())))
    """,
    "io.BytesIO over os.fstat": """
        import io, os
        stream = io.BytesIO(os.read(0, os.fstat(0).st_size or 1 << 16))
        for _ in range(int(stream.readline())):
            print(sum(map(int, stream.readline().split())))
    """,
    "fileinput": """
        import fileinput
        for number, row in enumerate(fileinput.input()):
            if number:
                print(sum(map(int, row.split())))
    """,
    "input to EOFError": """
        input()
        while True:
            try:
                row = input()
            except EOFError:
                break
            print(sum(map(int, row.split())))
    """,
    "iter(input, sentinel) with except": """
        rows = []
        try:
            for row in iter(input, "no such line"):
                rows.append(row)
        except EOFError:
            pass
        print(*(sum(map(int, row.split())) for row in rows[1:]), sep="\\n")
    """,
    "list comprehension of input": """
        print(*[sum(map(int, input().split())) for _ in range(int(input()))], sep="\\n")
    """,
    "exit()": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
        exit()
        print("never")
    """,
    "exit(0)": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
        exit(0)
    """,
    "quit()": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
        quit()
    """,
    "sys.exit() in a function": """
        import sys
        def solve():
            for _ in range(int(input())):
                print(sum(map(int, input().split())))
            sys.exit()
        solve()
    """,
    "raise SystemExit": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
        raise SystemExit
    """,
    "os._exit after a flush": """
        import os, sys
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
        sys.stdout.flush()
        os._exit(0)
    """,
    "module globals": """
        total = 0
        def add(row):
            global total
            total = sum(map(int, row.split()))
        for _ in range(int(input())):
            add(input())
            print(total)
    """,
    "recursion in globals": """
        def solve(left):
            if left:
                print(sum(map(int, input().split())))
                solve(left - 1)
        solve(int(input()))
    """,
    "deep recursion": """
        import sys
        sys.setrecursionlimit(10**6)
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        assert depth(50_000) == 50_000
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
    """,
    "a thread with a large stack": """
        import sys, threading
        sys.setrecursionlimit(1 << 25)
        threading.stack_size(1 << 27)
        def main():
            def depth(n):
                return 0 if n == 0 else 1 + depth(n - 1)
            depth(20_000)
            for _ in range(int(input())):
                print(sum(map(int, input().split())))
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
    """,
    "a thread that is not joined": """
        import threading, time
        def main():
            time.sleep(0.05)
            for _ in range(int(input())):
                print(sum(map(int, input().split())))
        threading.Thread(target=main).start()
    """,
    "print(end='')": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())), end="\\n")
        print(end="")
    """,
    "no newline at the end": """
        print("\\n".join(str(sum(map(int, input().split()))) for _ in range(int(input()))), end="")
    """,
    "sys.stdout.write": """
        import sys
        for _ in range(int(input())):
            sys.stdout.write(str(sum(map(int, input().split()))) + "\\n")
    """,
    "sys.stdout.buffer.write": """
        import sys
        for _ in range(int(input())):
            sys.stdout.buffer.write(b"%d\\n" % sum(map(int, input().split())))
    """,
    "sys.stdout.writelines": """
        import sys
        rows = sys.stdin.readlines()[1:]
        sys.stdout.writelines(f"{sum(map(int, row.split()))}\\n" for row in rows)
    """,
    "flush after every line": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())), flush=True)
    """,
    "print to an own file over 1": """
        out = open(1, "w")
        for _ in range(int(input())):
            print(sum(map(int, input().split())), file=out)
    """,
    "os.write(1)": """
        import os
        for _ in range(int(input())):
            os.write(1, f"{sum(map(int, input().split()))}\\n".encode())
    """,
    "stdout replaced and restored": """
        import io, sys
        real, sys.stdout = sys.stdout, io.StringIO()
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
        text, sys.stdout = sys.stdout.getvalue(), real
        print(text, end="")
    """,
    "fast input and output of competitions": """
        import os, sys
        from io import BytesIO, IOBase
        class FastIO(IOBase):
            newlines = 0
            def __init__(self, file):
                self._fd = file.fileno()
                self.buffer = BytesIO()
                self.writable = "x" in file.mode or "r" not in file.mode
                self.write = self.buffer.write if self.writable else None
            def read(self):
                while True:
                    b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
                    if not b:
                        break
                    ptr = self.buffer.tell()
                    self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
                self.newlines = 0
                return self.buffer.read()
            def readline(self):
                while self.newlines == 0:
                    b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
                    self.newlines = b.count(b"\\n") + (not b)
                    ptr = self.buffer.tell()
                    self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
                self.newlines -= 1
                return self.buffer.readline()
            def flush(self):
                if self.writable:
                    os.write(self._fd, self.buffer.getvalue())
                    self.buffer.truncate(0), self.buffer.seek(0)
        class IOWrapper(IOBase):
            def __init__(self, file):
                self.buffer = FastIO(file)
                self.flush = self.buffer.flush
                self.writable = self.buffer.writable
                self.write = lambda s: self.buffer.write(s.encode("ascii"))
                self.read = lambda: self.buffer.read().decode("ascii")
                self.readline = lambda: self.buffer.readline().decode("ascii")
        sys.stdin, sys.stdout = IOWrapper(sys.stdin), IOWrapper(sys.stdout)
        input = lambda: sys.stdin.readline().rstrip("\\r\\n")
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
    """,
    "printing at exit": """
        import atexit
        results = []
        atexit.register(lambda: print(*results, sep="\\n"))
        for _ in range(int(input())):
            results.append(sum(map(int, input().split())))
    """,
    "class with methods": """
        class Solution:
            def solve(self, row):
                return sum(map(int, row.split()))
        solution = Solution()
        for _ in range(int(input())):
            print(solution.solve(input()))
    """,
    "generator of tokens": """
        import sys
        tokens = iter(sys.stdin.read().split())
        for _ in range(int(next(tokens))):
            print(sum(int(next(tokens)) for _ in range(3)))
    """,
    "numpy": """
        import numpy as np
        rows = np.array([input().split() for _ in range(int(input()))], dtype=np.int64)
        for row in rows:
            print(sum(row))
    """,
    "CRLF output": """
        for _ in range(int(input())):
            print(sum(map(int, input().split())), end="\\r\\n")
    """,
    "typing, dataclasses and decorators": """
        from __future__ import annotations
        import dataclasses, functools
        @dataclasses.dataclass(order=True)
        class Row:
            values: tuple[int, ...]
        @functools.lru_cache(maxsize=None)
        def total(values):
            return sum(values)
        for _ in range(int(input())):
            print(total(Row(tuple(map(int, input().split()))).values))
    """,
    "pickle of own classes": """
        import pickle
        class Row(list):
            pass
        for _ in range(int(input())):
            print(sum(pickle.loads(pickle.dumps(Row(map(int, input().split()))))))
    """,
    "child processes": """
        import multiprocessing
        def total(row):
            return sum(map(int, row.split()))
        if __name__ == "__main__":
            rows = [input() for _ in range(int(input()))]
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(*pool.map(total, rows), sep="\\n")
    """,
    "asyncio": """
        import asyncio
        async def main():
            for _ in range(int(input())):
                await asyncio.sleep(0)
                print(sum(map(int, input().split())))
        asyncio.run(main())
    """,
    "a file of its own": """
        import os, tempfile
        with tempfile.NamedTemporaryFile("w+", delete=False) as file:
            for _ in range(int(input())):
                print(sum(map(int, input().split())), file=file)
        print(open(file.name).read(), end="")
    """,
    "stdout wrapped anew": """
        import io, sys
        sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8")
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
    """,
    "printed by a finalizer that uses globals": """
        import sys
        results = []
        class Printer:
            def __del__(self):
                for result in results:
                    sys.stdout.write(f"{result}\\n")
        printer = Printer()
        for _ in range(int(input())):
            results.append(sum(map(int, input().split())))
    """,
    "its own source": """
        import inspect
        def total(row):
            return sum(map(int, row.split()))
        assert "def total" in inspect.getsource(total) and "inspect" in open(__file__).read()
        for _ in range(int(input())):
            print(total(input()))
    """,
    "spawned processes": """
        import multiprocessing
        def total(row):
            return sum(map(int, row.split()))
        if __name__ == "__main__":
            rows = [input() for _ in range(int(input()))]
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(*pool.map(total, rows), sep="\\n")
    """,
    "a mark at the start of the source": "\ufefffor _ in range(int(input())):\n    print(sum(map(int, input().split())))\n",
    "warnings on stderr": """
        import sys
        print("debug " * 1000, file=sys.stderr)
        for _ in range(int(input())):
            print(sum(map(int, input().split())))
    """,
    "coding cookie and CRLF source": "# -*- coding: utf-8 -*-\r\nfor _ in range(int(input())):\r\n    print(sum(map(int, input().split())))\r\n",
}


@pytest.mark.parametrize("style", STYLES)
def test_right_program_is_accepted_and_wrong_one_is_not(style, run_script):
    source = textwrap.dedent(STYLES[style])
    right = run_script(source, STDIN, EXPECTED)
    wrong = run_script(source.replace("sum(", "-sum("), STDIN, EXPECTED)
    assert (right.status, right.message) == ("passed", "")
    assert wrong.status == "wrong_answer"


@pytest.mark.parametrize("stdin", [STDIN.rstrip("\n"), STDIN.replace("\n", "\r\n"), STDIN + "\n\n"])
def test_input_is_given_as_it_is(stdin, run_script):
    source = "import sys\nsys.stdout.write(repr(sys.stdin.buffer.read().decode()))"
    assert run_script(source, stdin, repr(stdin)).status == "passed"


def test_universal_newlines_of_text_input(run_script):
    assert run_script("print(repr(open(0).read()))", "a\r\nb\r", repr("a\nb\n")).status == "passed"


def test_large_input_and_output(run_script):
    numbers = list(range(100_000))
    stdin = "\n".join(map(str, numbers))
    expected = "\n".join(str(number + 1) for number in numbers)
    assert (
        run_script("import sys\nfor line in sys.stdin:\n    print(int(line) + 1)", stdin, expected).status == "passed"
    )


def test_input_that_is_not_read(run_script):
    assert run_script("print(42)", "x" * 1_000_000).status == "passed"


def test_unicode_in_source_input_and_output(run_script):
    assert run_script("print('→', input()[::-1])", "añb漢", "→ 漢bña").status == "passed"


def test_recursion_limit_is_that_of_an_interpreter(run_script):
    """A fresh `python main.py` has one frame of its own, so a function may nest 999 deep and not 1000."""
    source = "import sys\ndef f(n):\n    return 1 if n == 1 else 1 + f(n - 1)\nprint(f({}))"
    assert run_script(source.format(980), "", "980").status == "passed"
    assert run_script(source.format(1001), "", "1001").status == "runtime_error"


def test_hash_seed_is_fixed(run_script):
    """The order of a set of texts must not change from run to run."""
    source = "print(list({'a', 'b', 'c', 'd', 'e', 'f'}))"
    first = run_script(source, "", "no such output").message
    assert first == run_script(source, "", "no such output").message


def test_random_differs_between_programs(run_script):
    source = "import random\nprint(random.random())"
    assert run_script(source, "", "no").message != run_script(source, "", "no").message


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys\nprint(42)\nsys.exit(1)", "runtime_error"),
        ("print(42)\nraise SystemExit('no')", "runtime_error"),
        ("import sys\nprint(42)\nsys.exit('')", "runtime_error"),
        ("import os\nos._exit(0)", "wrong_answer"),
        ("print(42)\n1 / 0", "runtime_error"),
        ("print(42", "compile_error"),
        ("print(42)\x00", "compile_error"),
        ("", "wrong_answer"),
        ("print(4)\nprint(2)", "wrong_answer"),
    ],
)
def test_ways_to_end(source, status, run_script):
    assert run_script(source).status == status
