"""Policies of a finished run evaluated again."""

import json

import pytest

from marl_bench.cli.evaluate import evaluate
from marl_bench.errors import ConfigError, ModelError, UnknownNameError
from marl_bench.reevaluation import evaluate_again, plan_evaluation
from marl_bench.run_dir import RunDir, read_cells


def again(run, registry, *overrides, name="again", arms=()):
    planned = plan_evaluation(run, overrides, registry, name=name)
    return planned, evaluate_again(planned, arms=arms, done=lambda _now, _text: None)


def test_the_same_evaluation_gives_the_same_samples(finished_run, registry):
    planned, _ = again(finished_run, registry, name="same")
    before, after = read_cells(RunDir(finished_run)), read_cells(planned.out)
    assert [list(cell.samples) for cell in after] == [list(cell.samples) for cell in before]
    assert planned.seen == 0
    assert "only the evaluation is on these" in " ".join(after[0].record.shared["data"]["notes"])


def test_other_prompts_metrics_and_samples_are_reported_beside_the_run(finished_run, registry):
    overrides = [("evaluation.metrics", ["words"]), ("evaluation.samples_per_prompt", 2), ("data.limit", 3)]
    planned, files = again(finished_run, registry, *overrides, arms=["token_ppo"])
    [cell] = read_cells(planned.out)
    assert [sample.response.sample_index for sample in cell.samples] == [0, 1] * 3
    assert all(sample.metrics["words"] >= 0 for sample in cell.samples)
    assert files.report.parent == finished_run / "evaluations" / "again"
    assert "words" in files.scores.read_text()


def test_what_is_evaluated_already_is_not_evaluated_again(finished_run, registry):
    planned, _ = again(finished_run, registry, ("data.limit", 2), name="once", arms=["token_ppo"])
    path = next(planned.out.cells.glob("*/samples.jsonl"))
    before = path.stat().st_mtime_ns
    again(finished_run, registry, ("data.limit", 2), name="once")
    assert path.stat().st_mtime_ns == before
    assert len(read_cells(planned.out)) == 2


def test_settings_of_the_training_are_refused(finished_run, registry):
    with pytest.raises(ConfigError, match=r"--set ppo\.kl_coef: belongs to the training"):
        plan_evaluation(finished_run, [("ppo.kl_coef", 1.0)], registry, name=None)
    with pytest.raises(ConfigError, match=r"--set data\.seed: belongs to the training"):
        plan_evaluation(finished_run, [("data.seed", 1)], registry, name=None)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'evaluation\.temperature'"):
        plan_evaluation(finished_run, [("evaluation.temperatur", 1.0)], registry, name=None)
    with pytest.raises(UnknownNameError, match="unknown arm"):
        again(finished_run, registry, ("data.limit", 2), name="none", arms=["dpo"])


def test_a_window_that_is_too_small_and_a_name_that_is_a_path_are_refused(finished_run, registry):
    with pytest.raises(ModelError, match="its window holds 2048 tokens"):
        plan_evaluation(finished_run, [("sampling.max_prompt_tokens", 5000)], registry, name=None)
    with pytest.raises(ConfigError, match="should be the name of a folder"):
        plan_evaluation(finished_run, [], registry, name="../elsewhere")


def test_a_metric_whose_code_changed_is_another_evaluation(finished_run, registry, tmp_path):
    own = tmp_path / "own.py"
    overrides = ("evaluation.metrics", [f"python:{own}:loud"]), ("data.limit", 2)
    found = []
    for value in ("1.0", "7.0"):
        own.write_text(f"def loud(prompt, response):\n    return {value}\n")
        planned, _ = again(finished_run, registry, *overrides, name=None, arms=["token_ppo"])
        [cell] = read_cells(planned.out)
        found.append(cell.record.metrics["loud"])
    assert found == [1.0, 7.0]


def test_prompts_that_the_run_has_trained_on_are_counted(finished_run, registry, tmp_path):
    [prompt, *_] = (json.loads(line)["prompt"] for line in _samples(finished_run))
    trained = plan_evaluation(finished_run, [], registry, name=None).run.data().rl_prompts[0]
    assert prompt != trained.text
    folder = tmp_path / "data" / "comparisons"
    folder.mkdir(parents=True)
    post = trained.text.partition("POST: ")[2].removesuffix("\n\nTL;DR:")
    subreddit, title = (trained.text.partition(f"{name}: ")[2].partition("\n")[0] for name in ("SUBREDDIT", "TITLE"))
    for split, body in (("train", "another post"), ("validation", post)):
        rows = [_row(f"{body}{number or ''}", subreddit, title) for number in range(10 if split == "train" else 1)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    planned = plan_evaluation(finished_run, [("data.source", str(tmp_path / "data"))], registry, name=None)
    assert planned.seen == 1


def test_the_verb_prints_the_comparison_and_where_the_report_is(finished_run, capsys):
    evaluate(finished_run, arm=["token_ppo"], set_=["data.limit=2"], metric=["words"], name="verb", quiet=True)
    out = capsys.readouterr().out
    assert "arm: token_ppo" in out
    assert out.strip().endswith("evaluations/verb/report.md")


def _samples(run):
    return next(run.glob("cells/*/samples.jsonl")).read_text().splitlines()


def _row(post, subreddit, title):
    return {
        "info": {"id": post[-20:], "post": post, "title": title, "subreddit": subreddit.removeprefix("r/")},
        "summaries": [{"text": "good"}, {"text": "bad"}],
        "choice": 0,
    }
