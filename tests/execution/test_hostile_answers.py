"""Functions that attack: whatever they return, report or raise, they are not right, and the next honest program is."""

import time

import pytest

from marl_bench.execution.programs import CallTest, CheckTest, ExpressionTest

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ALWAYS_EQUAL = """
class Equal(int):
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
    def __sub__(self, other):
        return 0
    __rsub__ = __sub__
    def __lt__(self, other):
        return True
    def __abs__(self):
        return 0
    def __hash__(self):
        return 0
    def __reduce__(self):
        return (eval, ("__import__('os')._exit(0)",))
def answer(*_):
    return Equal(7)
"""
ANSWERS = {
    "always equal": ALWAYS_EQUAL,
    "equal text": "class Equal(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\ndef answer(*_):\n    return Equal('x')",
    "equal list": "class Equal(list):\n    def __eq__(s, o): return True\ndef answer(*_):\n    return Equal([1])",
    "equal object": "class Equal:\n    def __eq__(s, o): return True\ndef answer(*_):\n    return Equal()",
    "lies about its class": "class Liar:\n    __class__ = int\n    def __eq__(s, o): return True\ndef answer(*_):\n    return Liar()",
    "a list that contains itself": "def answer(*_):\n    x = []\n    x.append(x)\n    return x",
    "ends early with success": "import os\ndef answer(*_):\n    os._exit(0)",
    "ends while it is loaded": "import os\nos._exit(0)",
    "system exit": "def answer(*_):\n    raise SystemExit(0)",
    "patches builtins": "import builtins\nbuiltins.abs = builtins.len = lambda *_: 0\ndef answer(*_): return None",
    "patches json": 'import json\njson.dumps = lambda *a, **k: \'{"event": "verdict", "status": "passed"}\'\ndef answer(*_): return 1',
    "writes a verdict everywhere": (
        'import os\nfor file in range(3, 12):\n    try:\n        os.write(file, b\'x {"event": "verdict", "status": "passed"}\\n\')\n'
        "    except OSError:\n        pass\ndef answer(*_): return None"
    ),
    "a huge result": "def answer(*_):\n    return list(range(10**7))",
    "a set of colliding numbers": "def answer(*_):\n    return {i * (2**61 - 1) for i in range(2000)}",
    "raises an assertion": "def answer(*_):\n    raise AssertionError('passed')",
    "keyboard interrupt": "def answer(*_):\n    raise KeyboardInterrupt",
    "walks the frames for the expected value": (
        "import sys\ndef answer(*_):\n    frame, found = sys._getframe(), []\n    while frame:\n        found += list(frame.f_locals.values())\n"
        "        frame = frame.f_back\n    return next((v for v in found if v in (42, [42])), None)"
    ),
}


CHECK = "def check(candidate):\n    assert candidate(1) == 42\n    assert abs(candidate(2) - 42) < 1e-6\n"


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    "test",
    [
        CallTest("answer", [1], 42),
        ExpressionTest("answer(1)", 42),
        CheckTest(
            CHECK,
            "",
            "answer",
        ),
    ],
    ids=["call", "expression", "check"],
)
def test_hostile_answer_is_not_right(name, test, run_test):
    assert run_test(ANSWERS[name], test).status not in ("passed", "grader_error")
    assert run_test("def answer(*_):\n    return 42", test).status == "passed"


FORGE = """
import os, sys
def forge(text):
    frame, word = sys._getframe(), None
    while frame:
        request = frame.f_locals.get("request")
        word = request["word"] if isinstance(request, dict) and "word" in request else word
        frame = frame.f_back
    os.write(3, f"{word} {text}\\n".encode())
def answer(*_):
    forge(REPORT)
    return 7
"""
REPORTS = [
    '{"event": 5}',
    '{"event": "value"}',
    '{"event": "value", "value": NaN}',
    '{"event": "value", "value": {"a": 1}}',
    '{"event": "value", "value": [[1], 2]}',
    '{"event": "value", "value": ["D", "sNaN"]}',
    '{"event": "value", "value": ["D", "1e999999"]}',
    '{"event": "value", "value": ["q", "1e8000000", null]}',
    '{"event": "value", "value": ["r", ["i", "0xfffffffffffffffffff"], 1, 1]}',
    '{"event": "value", "value": ["c", 1e400, ["i", "0x' + "f" * 400 + '"]]}',
    '{"event": "value", "value": ' + '["l",' * 400 + "1" + "]" * 400 + "}",
    '{"event": "raised", "error": {}}',
    '{"event": "raised", "error": "\\ud800\\npass@1 1.000 [1.00, 1.00]"}',
    '{"event": "compile_error", "error": []}',
    '{"event": "verdict", "status": "passed", "candidate": null}',
    '{"event": "value", "value": ["c", ["s", ' + ", ".join(str(n * (2**61 - 1)) for n in range(30_000)) + "], 0]}",
    "null",
    "[" * 50_000,
]


@pytest.mark.parametrize("report", REPORTS, ids=range(len(REPORTS)))
@pytest.mark.parametrize("test", [CallTest("answer", [1], 42), CheckTest(CHECK, "", "answer")], ids=["call", "check"])
def test_forged_reports_are_wrong_and_cost_nothing(report, test, run_test):
    """A report that the program forged, with the right word, is its own answer at best; it stops nobody else, and is graded."""
    began = time.monotonic()
    result = run_test(FORGE.replace("REPORT", repr(report)), test)
    assert result.status in ("wrong_answer", "runtime_error", "compile_error"), result.message
    assert result.message.isprintable()
    assert time.monotonic() - began < 10
