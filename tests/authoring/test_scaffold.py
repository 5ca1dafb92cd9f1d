"""A new task: written, checked, tested and refused; and the smallest task of the README."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from marl_bench.authoring.scaffold import new_task
from marl_bench.cli.task import app
from marl_bench.errors import ConfigError

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def package(tmp_path, registry):
    """A new task's package, and the environment of a process in which it is installed."""
    folder = tmp_path / "my_task"
    new_task("my_task", folder, registry)
    metadata = tmp_path / "my_task-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-task\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[marl_bench.tasks]\nmy_task = my_task:TASK\n")
    paths = [str(tmp_path), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return folder, {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def test_a_new_task_passes_its_own_tests_and_the_check(package):
    folder, environment = package
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^7 passed", done.stdout, re.MULTILINE)


def test_a_new_task_has_no_word_of_the_template_left_and_names_its_entry_point(package):
    folder, _ = package
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert set(texts) == {
        "README.md",
        "pyproject.toml",
        "my_task/__init__.py",
        "my_task/task.py",
        "my_task/rows.jsonl",
        "tests/test_task.py",
    }
    assert not re.search(r"@[A-Z]+@", "".join(texts.values()))
    assert 'my_task = "my_task:TASK"' in texts["pyproject.toml"]
    assert len([json.loads(line) for line in texts["my_task/rows.jsonl"].splitlines()]) == 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Task", "should be the name of a Python module"),
        ("class", "should be the name of a Python module"),
        ("tldr", "marl-bench has a task of that name"),
        ("json", "there is a module of that name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path, registry, name, message):
    with pytest.raises(ConfigError, match=message):
        new_task(name, tmp_path / "out", registry)


def test_what_is_there_is_not_overwritten(tmp_path, registry):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        new_task("my_task", tmp_path, registry)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def smallest_task(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    [block] = [block for block in blocks if 'TaskSpec("greet"' in block]
    assert len(block.splitlines()) < 40
    path = tmp_path / "greet.py"
    path.write_text(block)
    return path


def test_the_smallest_task_of_the_readme_keeps_the_contract(smallest_task, capsys):
    app(["check", "greet", "--plugin", str(smallest_task), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["clauses"]["oracle"]["skipped"] == "the data have no known optimum"


def test_inspect_shows_rows_tokens_cuts_and_no_leak(smallest_task, capsys):
    arguments = ["inspect", "greet", "--plugin", str(smallest_task), "--rule", "fixed(n=3)", "--rows", "2"]
    app([*arguments, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert {name: stage["items"] for name, stage in found["stages"].items()} == {
        "sft": 40,
        "preferences": 0,
        "rl": 64,
        "evaluation": 40,
    }
    assert found["leaks"] == {}
    first = found["rows"][0]
    assert first["prompt"].startswith("Greet ")
    assert len(first["response_ids"][0]) >= 4
    pieces = found["cuts"][0]["pieces"]["fixed(n=3)"]
    assert "".join(pieces) == first["responses"][0] + "<|eos|>"
    app(arguments, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Leaks: none" in shown
    assert "--- response, " in shown


LEAKY = """
from marl_bench.interfaces import TaskSpec
from marl_bench.records import Prompt, SftPair, TaskData


class Leaky:
    metrics = ()

    def load(self, source, *, seed):
        prompts = [Prompt(f"p{n}", f"Say {n}:") for n in range(4)]
        pairs = [SftPair(prompts[0], " one two three"), SftPair(prompts[0], " one two three")]
        return TaskData(pairs, [], prompts[1:], prompts[:1], counts={"odd_rows": 1}, notes=["It leaks."])

    def score(self, prompts, responses):
        return [1.0] * len(responses)

    def oracle(self, prompts, responses):
        return None


TASK = TaskSpec("leaky", "1", "leaks", lambda options: Leaky(), reward_kind="rule", primary_metric="s")
"""


def test_inspect_names_leaks_and_repeated_items(tmp_path, capsys):
    (tmp_path / "leaky.py").write_text(LEAKY)
    app(["inspect", "leaky", "--plugin", str(tmp_path / "leaky.py")], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Leak: 1 prompts stand in sft and evaluation: p0" in shown
    assert "stage: sft | items: 2 | prompts: 1" in shown
    assert "repeated: 1 / 1" in shown
    assert "odd_rows = 1" in shown
    assert "Note: It leaks." in shown
