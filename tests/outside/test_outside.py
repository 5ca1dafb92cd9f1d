"""Models and samples made elsewhere through the whole evaluator."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from marl_bench.cli.main import main
from marl_bench.errors import ConfigError, DataError, ModelError, RecordError, RunFolderError, UnknownNameError
from marl_bench.models.loading import model_folder
from marl_bench.outside.answers import ANSWERS
from marl_bench.outside.evaluate import evaluate_outside
from marl_bench.outside.plan import plan_outside
from marl_bench.outside.prompts_file import write_prompts
from marl_bench.outside.request import Request
from marl_bench.outside.systems import parse_systems
from marl_bench.run_dir import RunDir, digest_of_folder, read_cells, read_config

SMALL = (
    ("data.limit", 10),
    ("sampling.max_response_tokens", 16),
    ("ppo.sample_batch_size", 4),
)


@pytest.fixture
def evaluated(registry, tmp_path):
    def run(*, done=lambda _now, _text: None, out="out", **options):
        plan = plan_outside(Request(out=tmp_path / out, **options), registry)
        files = evaluate_outside(plan, done=done)
        return {(cell.record.arm["label"], cell.record.seed): cell for cell in read_cells(plan.out)}, files

    return run


@pytest.fixture
def written(registry, tmp_path):
    """Writes a file with one response a prompt of the small evaluation, or of a run."""

    def write(name, text, *, run=None, **columns):
        request = Request(task=None if run else "tldr", run=run, overrides=() if run else SMALL)
        write_prompts(request, registry, out=tmp_path / "prompts.jsonl")
        prompts = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
        rows = [{"id": row["id"], "response": text(row) if callable(text) else text, **columns} for row in prompts]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def cell_of(run, arm):
    return next(cell for cell in read_cells(RunDir(run)) if cell.record.arm["name"] == arm)


def test_a_policy_of_a_run_has_the_numbers_of_its_cell(evaluated, finished_run):
    policy = finished_run / "cells" / "token_ppo-seed0" / "policy"
    found, files = evaluated(run=finished_run, models=[f"mine={policy}"], against="macro_ppo:fixed(n=5)")
    own, cell = found["mine", 0], cell_of(finished_run, "token_ppo")
    assert [one.response for one in own.samples] == [one.response for one in cell.samples]
    for one, other in zip(own.samples, cell.samples, strict=True):
        for name, value in other.metrics.items():
            assert one.metrics[name] == pytest.approx(value, abs=1e-5), name
    assert own.record.digests["reward_model"] == cell.record.digests["reward_model"]
    assert own.record.shared["reward_model"] == cell.record.shared["reward_model"]
    assert files.comparison.start.label == "run:macro_ppo:fixed(n=5)"
    assert {one.arm.label for one in files.comparison.differences} == {"mine"}


def test_an_arm_of_the_run_keeps_what_the_run_measured(evaluated, finished_run, written):
    samples = written("mine.jsonl", " A dog.", run=finished_run)
    found, _ = evaluated(run=finished_run, samples=[str(samples)], against=f"{finished_run}:token_ppo")
    arm, cell = found["run:token_ppo", 0], cell_of(finished_run, "token_ppo")
    names = ("reward_model_score", "kl", "oracle", "response_tokens", "finished")
    for one, other in zip(arm.samples, cell.samples, strict=True):
        assert [one.metrics[name] for name in names] == [other.metrics[name] for name in names]
    assert arm.record.arm["role"] == "start"
    assert found["mine", 0].record.arm["role"] == "other"


def test_samples_are_scored_as_the_run_scores_its_own(evaluated, finished_run):
    """The stored texts of a cell as a file of samples: where a text has one encoding only, its score is the cell's."""
    path = finished_run / "cells" / "token_ppo-seed0" / "samples.jsonl"
    found, _ = evaluated(run=finished_run, samples=[f"copy={path}"])
    pairs = zip(found["copy", 0].samples, cell_of(finished_run, "token_ppo").samples, strict=True)
    gaps = [abs(one.metrics["reward_model_score"] - other.metrics["reward_model_score"]) for one, other in pairs]
    assert sorted(gaps)[len(gaps) // 2] < 1e-5
    assert all(one.metrics["kl"] is None for one in found["copy", 0].samples)  # nobody knows their log-probs
    assert "kl" not in found["copy", 0].record.metrics


def test_a_response_without_the_space_before_its_first_word_is_scored_with_it(evaluated, finished_run, written):
    bare = written("bare.jsonl", "A dog runs home.", run=finished_run)
    spaced = written("spaced.jsonl", " A dog runs home.", run=finished_run)
    found, _ = evaluated(run=finished_run, samples=[str(bare), str(spaced)])
    scores = [[one.metrics["reward_model_score"] for one in found[name, 0].samples] for name in ("bare", "spaced")]
    assert scores[0] == scores[1]


def test_without_a_reward_model_the_oracle_leads_and_unknown_numbers_stay_unknown(evaluated, written):
    found, files = evaluated(
        task="tldr", overrides=SMALL, samples=[f"gold={written('g.jsonl', lambda row: row['reference'])}", f"bad={written('b.jsonl', 'no')}"]
        , against="bad",
    )  # fmt: skip
    gold = found["gold", 0]
    assert gold.record.task["primary_metric"] == "oracle"
    assert gold.record.metrics["oracle"] == 2.5  # the best that a summary of the embedded posts can have
    assert gold.record.metrics["rougeL"] == 1.0
    assert {"repetition", "words"} <= set(gold.record.metrics)
    assert not {"response_tokens", "finished", "kl"} & set(gold.record.metrics)
    assert gold.samples[0].response.token_count is None
    [difference] = files.comparison.differences
    assert difference.delta == pytest.approx(2.5 + 0.65)  # "no" is worth -0.65 to every post
    text = files.report.read_text()
    assert text.startswith("# out: evaluation against bad")
    assert "gold against bad, oracle: better on these prompts with this one seed" in text
    assert "token-PPO" not in text


def test_tokens_are_counted_where_a_tokenizer_is_given(evaluated, written):
    path = written("s.jsonl", " A dog runs home.")
    found, _ = evaluated(task="tldr", overrides=SMALL, samples=[str(path)], tokenizer="tiny")
    from marl_bench.models.loading import load_tokenizer

    ids = load_tokenizer("tiny")(" A dog runs home.")["input_ids"]
    assert {one.response.token_count for one in found["s", 0].samples} == {len(ids) + 1}  # and EOS


def test_a_stopped_evaluation_goes_on_and_equals_one_in_one_go(evaluated, tmp_path):
    class Stop(Exception):
        pass

    def stop_after_two_batches(now, _text):
        if now >= 8:
            raise Stop

    options = {"task": "tldr", "overrides": SMALL, "models": ["base=tiny"], "seeds": 2}
    whole, _ = evaluated(out="whole", **options)
    with pytest.raises(Stop):
        evaluated(done=stop_after_two_batches, **options)
    kept = tmp_path / "out" / "cells" / "base-seed0" / ANSWERS
    lines = kept.read_text().splitlines()
    assert len(lines) == 3  # what they are of, and two batches of four
    with kept.open("a") as file:
        file.write(lines[-1][:50])  # a kill in the middle of a write
    told = []
    found, _ = evaluated(done=lambda now, _text: told.append(now), **options)
    assert told[0] == 8  # nothing is sampled again
    assert {key: list(one.samples) for key, one in found.items()} == {
        key: list(one.samples) for key, one in whole.items()
    }
    assert not kept.exists()


def test_answers_of_another_temperature_are_not_taken(evaluated, tmp_path):
    options = {"task": "tldr", "models": ["base=tiny"]}
    hot, _ = evaluated(overrides=SMALL, **options)
    cold, _ = evaluated(overrides=(*SMALL, ("evaluation.temperature", 0)), out="cold", **options)
    assert [one.response.text for one in hot["base", 0].samples] != [
        one.response.text for one in cold["base", 0].samples
    ]
    with pytest.raises(RunFolderError, match="belongs to another configuration"):
        evaluated(overrides=(*SMALL, ("evaluation.temperature", 0)), **options)


def test_what_is_evaluated_stays_and_what_changed_is_evaluated_anew(evaluated, written, tmp_path):
    first, second = written("a.jsonl", "one"), written("b.jsonl", "two")
    options = {"task": "tldr", "overrides": SMALL, "samples": [str(first), str(second)]}
    evaluated(against="a", **options)
    path = tmp_path / "out" / "cells" / "a-seed0" / "samples.jsonl"
    before = path.stat().st_mtime_ns
    written("b.jsonl", "two words")
    found, files = evaluated(against="b", **options)
    assert path.stat().st_mtime_ns == before
    assert {one.response.text for one in found["b", 0].samples} == {"two words"}
    assert {key: cell.record.arm["role"] for key, cell in found.items()} == {("a", 0): "other", ("b", 0): "start"}
    assert files.comparison.start.label == "b"


def test_missing_prompts_stand_as_a_warning_in_the_report(evaluated, written, registry):
    path = written("a.jsonl", "one")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:7]))
    options = {"task": "tldr", "overrides": SMALL, "samples": [str(path)]}
    with pytest.raises(DataError, match="3 of 10 prompts have no response"):
        plan_outside(Request(**options), registry)
    found, files = evaluated(allow_missing=True, **options)
    assert len(found["a", 0].samples) == 7
    assert "a, seed 0: 3 of 10 prompts have no response" in files.report.read_text()


def test_prompts_of_a_run_are_those_that_its_policies_read(finished_run, registry, tmp_path):
    write_prompts(Request(run=finished_run), registry, out=tmp_path / "p.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    samples = cell_of(finished_run, "token_ppo").samples
    assert [(row["id"], row["text"]) for row in rows] == [(one.prompt_id, one.prompt) for one in samples]
    assert rows[0]["messages"] == [{"role": "user", "content": rows[0]["text"].strip()}]


def test_pass_at_k_of_a_file_without_torch(tmp_path):
    """Two of five programs of every problem pass: pass@1 is 2 / 5, and pass@5 is 1."""
    code = """
import json, pathlib, sys
from marl_bench.outside.evaluate import evaluate_outside
from marl_bench.outside.plan import plan_outside
from marl_bench.outside.prompts_file import write_prompts
from marl_bench.outside.request import Request
from marl_bench.plugins import Registry

folder, registry, small = pathlib.Path(sys.argv[1]), Registry(), [("data.limit", 3)]
write_prompts(Request(task="apps", overrides=small), registry, out=folder / "p.jsonl")
rows = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
with (folder / "s.jsonl").open("w") as file:
    for row in rows:
        for index in range(5):
            text = row["reference"] if index < 2 else "raise SystemExit"
            file.write(json.dumps({"id": row["id"], "response": text}) + "\\n")
plan = plan_outside(Request(task="apps", overrides=small, samples=[str(folder / "s.jsonl")], out=folder / "out"), registry)
evaluate_outside(plan, done=lambda now, text: None)
print(json.loads((folder / "out/cells/s-seed0/record.json").read_text())["metrics"])
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "'pass@1': 0.4, 'pass@5': 1.0" in result.stdout


def test_names_come_from_what_says_something(tmp_path):
    for name in ("cells/token_ppo-seed0/policy", "my-model/checkpoint-40"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "gpt.v2.jsonl.gz").touch()
    models = [
        str(tmp_path / "cells/token_ppo-seed0/policy"),
        str(tmp_path / "my-model/checkpoint-40"),
        "org/some-model",
        "big=openai:big-1",
        "openai:org/other",
    ]
    systems = parse_systems(models, [str(tmp_path / "gpt.v2.jsonl.gz")])
    assert [(one.name, one.kind) for one in systems] == [
        ("token_ppo-seed0", "model"),
        ("my-model-checkpoint-40", "model"),
        ("some-model", "model"),
        ("big", "server"),
        ("other", "server"),
        ("gpt.v2", "samples"),
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "nothing to evaluate; give --model"),
        ({"models": ["tiny"]}, ConfigError, "of which task"),
        ({"models": ["tiny"], "task": "tdlr"}, UnknownNameError, "Did you mean 'tldr'"),
        ({"models": ["./nowhere"]}, ModelError, "no model there"),
        ({"models": ["openai:"]}, ConfigError, "names no model"),
        ({"models": ["a b=tiny"]}, ConfigError, "should be NAME=PATH"),
        ({"models": ["x=tiny", "x=tiny"]}, ConfigError, "x is the name of two"),
        ({"models": ["x@1=tiny", "x_1=tiny"]}, ConfigError, "is the name of two"),
        ({"samples": ["nowhere.jsonl"]}, DataError, "there is no file 'nowhere.jsonl'"),
        ({"models": ["tiny"], "task": "tldr", "against": "tinny"}, UnknownNameError, "Did you mean 'tiny'"),
        (
            {"models": ["tiny"], "task": "tldr", "overrides": [("ppo.kl_coef", 1.0)]},
            ConfigError,
            "belongs to a training",
        ),
        (
            {"models": ["tiny"], "task": "tldr", "overrides": [("sampling.max_prompt_tokens", 4000)]},
            ModelError,
            "its window holds 2048 tokens",
        ),
        (
            {"models": ["tiny"], "task": "tldr", "overrides": [("reward.sources", ["task", "python:x.py:f"])]},
            ConfigError,
            "scores with a reward model; give --reward-model",
        ),
        (
            {"models": ["tiny"], "task": "tldr", "overrides": [("reward_model.path", "nowhere")]},
            ModelError,
            "--reward-model 'nowhere': no from_pretrained folder",
        ),
    ],
)
def test_what_is_wrong_is_told_before_any_work(registry, options, error, message):
    with pytest.raises(error, match=message):
        plan_outside(Request(**options), registry)


def test_what_does_not_fit_the_run_is_refused(registry, finished_run, written):
    policy = str(finished_run / "cells" / "token_ppo-seed0" / "policy")
    given = {"run": finished_run, "models": [f"token_ppo={policy}"]}
    with pytest.raises(ConfigError, match=r"'token_ppo' is the name of an arm"):
        plan_outside(Request(**given), registry)
    given["models"] = [policy]
    with pytest.raises(ConfigError, match="is a run of task 'tldr'"):
        plan_outside(Request(task="hh", **given), registry)
    with pytest.raises(ConfigError, match="belongs to the run"):
        plan_outside(Request(overrides=[("reward_model.path", policy)], **given), registry)
    with pytest.raises(ConfigError, match="--tokenizer: tokens are counted by the tokenizer of the run"):
        plan_outside(Request(tokenizer="tiny", **given), registry)
    with pytest.raises(UnknownNameError, match="Did you mean 'token_ppo'"):
        plan_outside(Request(against=f"{finished_run}:tokenppo", **given), registry)
    with pytest.raises(RecordError, match="is an arm of task 'tldr', this is an evaluation of 'hh'"):
        samples = written("s.jsonl", "x")
        plan_outside(Request(task="hh", samples=[str(samples)], against=f"{finished_run}:token_ppo"), registry)


def test_a_tokenizer_without_eos_is_refused_and_one_without_padding_is_not(registry, evaluated, tmp_path):
    for name, change in (("no_eos", {"eos_token": None}), ("no_pad", {"pad_token": None})):
        shutil.copytree(model_folder("tiny"), tmp_path / name)
        path = tmp_path / name / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match="its tokenizer has no EOS token"):
        plan_outside(Request(task="tldr", models=[str(tmp_path / "no_eos")]), registry)
    found, _ = evaluated(task="tldr", overrides=SMALL, models=[str(tmp_path / "no_pad"), "base=tiny"])
    texts = [[one.response.text for one in found[name, 0].samples] for name in ("no_pad", "base")]
    assert texts[0] == texts[1]


def test_an_end_of_turn_ends_a_response(evaluated, tmp_path):
    """A model whose generation settings name further ends, as instruct models do: here the most frequent token."""
    shutil.copytree(model_folder("tiny"), tmp_path / "chatty")
    from marl_bench.models.loading import load_tokenizer

    tokenizer = load_tokenizer("tiny")
    space = tokenizer(" the", add_special_tokens=False)["input_ids"][-1]
    path = tmp_path / "chatty" / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [tokenizer.eos_token_id, space]}))
    found, _ = evaluated(task="tldr", overrides=SMALL, models=[str(tmp_path / "chatty"), "base=tiny"])
    pairs = zip(found["chatty", 0].samples, found["base", 0].samples, strict=True)
    shorter = [(one.response, other.response) for one, other in pairs if one.response.text != other.response.text]
    for one, other in shorter:
        assert other.text.startswith(one.text)
    assert all(one.response.text.count(" the") <= 1 for one in found["chatty", 0].samples)


def test_an_adapter_without_peft_says_what_to_install(registry, tmp_path, monkeypatch):
    from marl_bench.models import loading

    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": model_folder("tiny")}))
    plan_outside(Request(task="tldr", models=[str(tmp_path)]), registry)  # window and tokenizer are the base model's
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModelError, match="is a LoRA adapter, which needs the package peft"):
        loading.load_policy(str(tmp_path), dtype="float32")


def test_records_name_no_place_of_this_machine(evaluated, written, tmp_path):
    path = written("a.jsonl", "one")
    evaluated(task="tldr", overrides=SMALL, samples=[str(path)])
    assert str(tmp_path) not in (tmp_path / "out/cells/a-seed0/record.json").read_text()
    assert read_config(RunDir(tmp_path / "out"))["task"] == "tldr"


def test_a_given_reward_model_scores_like_the_run_it_is_of(evaluated, finished_run, written):
    samples = written("s.jsonl", lambda row: row["reference"], run=finished_run)
    reward_model = finished_run / "shared" / "reward_model"
    limits = (("data.limit", 12), ("sampling.max_response_tokens", 24), ("reward_model.path", str(reward_model)))
    alone, _ = evaluated(task="tldr", overrides=limits, samples=[str(samples)], out="alone")
    beside, _ = evaluated(run=finished_run, samples=[str(samples)])
    scores = [[one.metrics["reward_model_score"] for one in found["s", 0].samples] for found in (alone, beside)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert alone["s", 0].record.digests["reward_model"] == digest_of_folder(reward_model)


def status_of(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


def test_the_verb_prints_the_comparison_and_refuses_mixtures(tmp_path, written, finished_run, capsys):
    samples = written("a.jsonl", "one")
    small = [f"--set={key}={value}" for key, value in SMALL]
    try:
        main(["evaluate", "--task", "tldr", f"--samples={samples}", *small, "--out", str(tmp_path / "verb"), "--quiet"])
    except SystemExit as stopped:
        assert stopped.code == 0
    out = capsys.readouterr().out
    assert "arm: a" in out
    assert "Costs per seed" not in out, "nothing was trained"
    assert out.splitlines()[-2:] == [f"Page: {tmp_path / 'verb/report.html'}", f"Report: {tmp_path / 'verb/report.md'}"]
    report = (tmp_path / "verb/report.md").read_text()
    assert "Nothing was trained here" in report and "SFT model and reward model are trained once" not in report
    assert status_of("evaluate", str(finished_run), f"--samples={samples}") == 2
    assert "give it as --run" in capsys.readouterr().err
    for option in ("--seeds=3", "--concurrency=2", "--preset=other"):
        assert status_of("evaluate", str(finished_run), option) == 2, "it would do nothing"
        assert "the run's own policies, with their seeds and preset" in capsys.readouterr().err
    assert status_of("evaluate", "--task", "tldr", f"--samples={samples}", "--arm", "sft") == 2
    assert "--arm, --name and --macro-actions are of a RUN" in capsys.readouterr().err


def test_the_sample_browser_reads_responses_of_unknown_length(evaluated, written, tmp_path):
    from marl_bench.reporting.html.page import write_html

    _, files = evaluated(task="tldr", overrides=SMALL, samples=[str(written("a.jsonl", "one"))])
    write_html(tmp_path / "report.html", [RunDir(tmp_path / "out")], files.comparison, [], [])
    page = (tmp_path / "report.html").read_text()
    assert '"tokens":[-1' in page.replace(" ", "")


@pytest.mark.soak
def test_a_killed_evaluation_of_a_model_equals_one_in_one_go(tmp_path):
    """kill -9 whenever another batch is there, six times; the samples are those of a command that nobody killed."""
    command = [sys.executable, "-m", "marl_bench", "evaluate", "--task=tldr", "--model=base=tiny", "--quiet"]
    command += ["--limit=48", "--set=sampling.max_response_tokens=64", "--set=ppo.sample_batch_size=4"]
    subprocess.run([*command, f"--out={tmp_path / 'whole'}"], check=True, capture_output=True)
    kept, seen = tmp_path / "out" / "cells" / "base-seed0" / ANSWERS, 1
    for _ in range(6):
        process = subprocess.Popen(
            [*command, f"--out={tmp_path / 'out'}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and (not kept.exists() or kept.read_text().count("\n") <= seen):
            time.sleep(0.005)
        assert process.poll() is None, "it was done before it could be killed"
        process.kill()
        process.wait()
        seen = kept.read_text().count("\n")
    subprocess.run([*command, f"--out={tmp_path / 'out'}"], check=True, capture_output=True)
    texts = [(tmp_path / name / "cells/base-seed0/samples.jsonl").read_text() for name in ("out", "whole")]
    assert texts[0] == texts[1]
