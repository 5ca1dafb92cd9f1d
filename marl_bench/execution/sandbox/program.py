"""Runs one program in this process, which was forked for it, and ends the process as an interpreter would."""

import atexit
import builtins
import gc
import io
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from marl_bench.execution.sandbox import plain_data

STDIN, STDOUT, STDERR = 0, 1, 2
# A program that says one of these may want its own file, which costs a little; others do without.
_READS_ITSELF = ("__file__", "inspect", "spawn", "forkserver", "argv", "linecache", "runpy")
_UNREADABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


class Reports:
    """Lines to whoever asked for the program: a secret word that stray output lacks, and JSON."""

    def __init__(self, file_descriptor: int, word: str) -> None:
        """Writes to an open file descriptor."""
        self._file_descriptor, self._word, self._process = file_descriptor, word.encode(), os.getpid()

    def send(self, **report: Any) -> None:
        """Sends one report; processes that the program forked have nothing to say."""
        if os.getpid() != self._process:
            return
        data = self._word + b" " + json.dumps(report).encode() + b"\n"
        while data:
            data = data[os.write(self._file_descriptor, data) :]


def open_standard_streams() -> None:
    """Makes sys.stdin, stdout and stderr over descriptors 0, 1 and 2 as an interpreter does at its start.

    Call it once, while pipes stand there: the children that are forked later put their own there, and opening anew would cost each of them
    as much as a third of its fork.
    """
    stdin = _text_stream(STDIN, "r", "<stdin>")
    stdout = _text_stream(STDOUT, "w", "<stdout>")
    stderr = _text_stream(STDERR, "w", "<stderr>", errors="backslashreplace", line_buffering=True)
    sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = stdin, stdout, stderr  # type: ignore[misc]


def _text_stream(file: int, mode: str, name: str, **options: Any) -> io.TextIOWrapper:
    buffer: Any = open(file, mode + "b", closefd=False)  # noqa: SIM115 (it stays open as long as the process)
    buffer.raw.name = name
    stream = io.TextIOWrapper(buffer, encoding="utf-8", **options)
    stream.mode = mode  # type: ignore[misc]  # an interpreter sets it too, and programs that wrap the streams ask for it
    return stream


def _file() -> str:
    return os.path.join(os.getcwd(), "main.py")


def new_module(name: str) -> types.ModuleType:
    """Makes the module that the program's code runs in."""
    module = types.ModuleType(name)
    module.__dict__.update(__builtins__=builtins, __file__=_file())
    sys.modules[name] = module
    return module


def compiled(source: str, reports: Reports, *, body_allowed: bool = False) -> types.CodeType | None:
    """Compiles the program; reports `compile_error` and returns None where that is not possible.

    `body_allowed` also takes what compiles as the body of a function only, such as a `return` outside one.
    """
    try:
        return compile(source, _file(), "exec", dont_inherit=True)
    except _UNREADABLE as error:
        code = _compiled_as_body(source) if body_allowed else None
        if code is None:
            reports.send(event="compile_error", error=f"{type(error).__name__}: {error}"[:200])
        return code


def _compiled_as_body(source: str) -> types.CodeType | None:
    import ast

    try:
        wrapped = ast.parse("def code():\n    pass\ncode()")
        function = wrapped.body[0]
        assert isinstance(function, ast.FunctionDef)
        function.body = ast.parse(source).body or function.body
        return compile(wrapped, _file(), "exec", dont_inherit=True)
    except _UNREADABLE:
        return None


def exit_code(run: Callable[[], object], reports: Reports) -> int:
    """Runs something of the program's and returns the exit code that Python would give it."""
    try:
        run()
    except SystemExit as error:
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        print(error.code, file=sys.stderr)  # noqa: T201 (as Python does)
        return 1
    except BaseException as error:  # noqa: BLE001 (whatever ends the program is its end)
        report_exception(error, reports)
        return 1
    return 0


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except BaseException:  # noqa: BLE001 (a text that cannot be made is none)
        return ""


def report_exception(error: BaseException, reports: Reports) -> None:
    """Reports what ended the program, and prints its traceback as Python does."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    reports.send(event="raised", error=type(error).__name__[:80], builtin=kinds[0], text=_text_of(error))
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
        trace = trace.tb_next  # the program's own frames only
    try:
        sys.__excepthook__(type(error), error, trace)
    except BaseException:  # noqa: BLE001 (a traceback that cannot be printed changes nothing)
        return


def finish(code: int, name: str, reports: Reports) -> None:
    """Ends the process as an interpreter would: waits for threads, runs atexit, frees the module of that name, flushes."""
    ending = exit_code(lambda: _wind_down(name), reports)
    os._exit(code or ending)


def _wind_down(name: str) -> None:
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    _flush(sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    # Nothing else holds the module: its objects are finalized while its globals are still there, and open files are flushed.
    for each in (name, "__main__"):
        sys.modules.pop(each, None)
    gc.collect()
    _flush(sys.stdout, sys.stderr)


def _flush(*streams: Any) -> None:
    for stream in streams:
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except ValueError:
            continue  # detached: another stream has its buffer


def run_script(request: dict[str, Any], reports: Reports) -> None:
    """Runs the program as `python main.py` would; `body_allowed` also takes what only compiles as the body of a function."""
    source = request["source"].removeprefix("\ufeff")  # as Python does with a file that begins with it
    if any(word in source for word in _READS_ITSELF):
        with open(_file(), "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(source)
    code = compiled(source, reports, body_allowed=request["body_allowed"])
    if code is None:
        os._exit(1)
    finish(exit_code(lambda: exec(code, new_module("__main__").__dict__), reports), "__main__", reports)


def serve(request: dict[str, Any], reports: Reports) -> None:
    """Loads the program as a module, then answers calls, one a line of file descriptor `request["input"]`, to its end.

    A call is `{"call": name, "arguments": data}` of a function, or of a method of class `Solution`, or `{"value_of": expression}`.
    """
    code = compiled(request["source"], reports)
    if code is None:
        os._exit(1)

    def load_and_answer() -> None:
        scope = _solution_module().__dict__
        exec(compile(request["before"], "before.py", "exec"), scope)
        given = dict(scope)
        exec(code, scope)
        exec(compile(request["after"], "after.py", "exec"), scope)
        with open(request["input"], "rb", closefd=False) as lines:
            for line in lines:
                try:
                    reports.send(event="value", value=plain_data.encode(_answer(json.loads(line), scope, given)))
                except Exception as error:  # noqa: BLE001 (the next call may still go well)
                    report_exception(error, reports)

    finish(exit_code(load_and_answer, reports), "solution", reports)


def _solution_module() -> types.ModuleType:
    """Makes the module of a program that is called; programs that look for `__main__` find it there too."""
    module = sys.modules["__main__"] = new_module("solution")
    return module


def _answer(call: dict[str, Any], scope: dict[str, Any], given: dict[str, Any]) -> Any:
    if "value_of" in call:
        return eval(compile(call["value_of"], "test.py", "eval"), scope)
    function = _function(call["call"], scope, given)
    return function(*plain_data.decode(call["arguments"]), **plain_data.decode(call["named"]))


def _function(name: str, scope: dict[str, Any], given: dict[str, Any]) -> Callable[..., Any]:
    """Finds a function of the program's own: a method of its class `Solution`, else a global that it did not just find there."""
    solution = scope.get("Solution")
    if isinstance(solution, type) and hasattr(solution, name):
        method: Callable[..., Any] = getattr(solution(), name)
        return method
    function: Callable[..., Any] | None = scope.get(name)
    if function is None or function is given.get(name):
        raise NameError(f"name '{name}' is not defined")
    return function


def run_asserts(request: dict[str, Any], reports: Reports) -> None:
    """Loads the program and runs assertions in its own process, where it could interfere: only for those that need its objects."""
    code = compiled(request["source"], reports)
    if code is None:
        os._exit(1)

    def load_and_assert() -> None:
        scope = _solution_module().__dict__
        exec(compile(request["before"], "before.py", "exec"), scope)
        exec(code, scope)
        exec(compile(request["after"], "after.py", "exec"), scope)
        exec(compile(request["asserts"], "test.py", "exec"), scope)
        reports.send(event="verdict", status="passed")

    finish(exit_code(load_and_assert, reports), "solution", reports)
