"""Grids of arms and settings: what becomes cells, what is refused before any work, what happens to cells that failed."""

import dataclasses

import pytest
from typer.testing import CliRunner

from marl_bench.arm_axes import Axis, parse_axes, with_axes
from marl_bench.cli.main import app
from marl_bench.config_layers import resolve
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.estimates import room
from marl_bench.experiment import remaining
from marl_bench.planning import make_plan
from marl_bench.records import RunRecord
from marl_bench.run_dir import RECORD, read_record, write_json_atomically


def test_several_values_of_a_ppo_key_are_an_axis_and_one_value_holds_for_all():
    axes, common = parse_axes(
        ["ppo.kl_coef=0.02,0.05", "ppo.updates=3", "ppo.method=paper, corrected", "sft.max_steps=5"]
    )
    assert axes == [Axis("kl_coef", [0.02, 0.05]), Axis("method", ["paper", "corrected"])]
    assert common == ["ppo.updates=3", "sft.max_steps=5"]


def test_a_value_that_is_a_list_is_one_value():
    assert parse_axes(["ppo.adam_betas=[0.9, 0.95]"]) == ([], ["ppo.adam_betas=[0.9, 0.95]"])
    assert parse_axes(["ppo.adam_betas=[0.9, 0.95],[0.9, 0.99]"])[0] == [Axis("adam_betas", [[0.9, 0.95], [0.9, 0.99]])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ppo.kl_coef", "should be KEY=VALUE"),
        ("ppo.kl_coef=", "should be KEY=VALUE"),
        ("ppo.kl_coef=0.1,0.1", "a value stands twice"),
        ("sampling.temperature=0.7,1.0", "keys of the ppo section alone"),
    ],
)
def test_what_is_no_axis_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_axes([text])


def test_an_unknown_axis_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ppo.kl_coef'"):
        parse_axes(["ppo.kl_coeff=0.1,0.2"])
    with pytest.raises(ConfigError, match="is an axis already"):
        parse_axes(["ppo.kl_coef=0.1,0.2", "ppo.kl_coef=0.3,0.4"])


def test_arms_stand_once_for_every_combination_and_sft_once(registry):
    axes = [Axis("kl_coef", [0.1, 0.2]), Axis("whiten_advantages", [True, False])]
    assert with_axes(["sft", "token_ppo@clip_range=0.1"], axes, registry) == [
        "sft",
        "token_ppo@clip_range=0.1,kl_coef=0.1,whiten_advantages=true",
        "token_ppo@clip_range=0.1,kl_coef=0.1,whiten_advantages=false",
        "token_ppo@clip_range=0.1,kl_coef=0.2,whiten_advantages=true",
        "token_ppo@clip_range=0.1,kl_coef=0.2,whiten_advantages=false",
    ]
    with pytest.raises(ConfigError, match="has a kl_coef of its own"):
        with_axes(["token_ppo@kl_coef=0.3"], axes, registry)


@pytest.fixture
def make(registry, tmp_path):
    def plan(jobs=1):
        resolved = resolve(preset="tiny", layers=[("test", {"arms": ["token_ppo", "macro_ppo"], "seeds": 1})])
        return make_plan(resolved, registry, out=tmp_path / "run", jobs=jobs, threads=1)

    return plan


def test_a_cell_that_failed_is_left_so_unless_it_is_tried_again(make):
    plan = make()
    arm = plan.arms[1]
    record = RunRecord(
        experiment="run", status="failed", task={}, arm={}, seed=0, config_hash="", digests={}, shared={},
        environment={}, error="TrainingError: the loss is nan",
    )  # fmt: skip
    write_json_atomically(plan.run_dir.cell(arm.name, 0) / RECORD, record.to_json())
    assert read_record(plan.run_dir.cell(arm.name, 0)).status == "failed"
    todo = remaining(plan, retry=False)
    assert [job.arm.label for job in todo.cells] == ["token_ppo"]
    assert list(todo.failed) == ["macro_ppo:fixed(n=5) seed 0: TrainingError: the loss is nan"]
    assert len(remaining(plan).cells) == 2


def test_cells_that_do_not_fit_side_by_side_are_refused_with_the_number_that_does(make, monkeypatch):
    cell = room.memory_bytes(make())
    assert cell > room.PROCESS_BYTES
    monkeypatch.setattr(room, "_available_memory", lambda: 3 * cell)
    room.check_room(make(jobs=3))
    with pytest.raises(ConfigError, match=r"--jobs 4: a cell needs about .* use --jobs 3\."):
        room.check_room(make(jobs=4))
    monkeypatch.setattr(room, "_available_memory", lambda: cell // 2)
    with pytest.raises(ConfigError, match="use a smaller model"):
        room.check_room(make())


def test_a_full_disk_is_told_before_the_grid_starts(make, monkeypatch):
    monkeypatch.setattr(room, "_free", lambda _: 2**20)
    with pytest.raises(ConfigError, match=r"writes about .* MiB and 1 MiB are free"):
        room.check_room(make())


def test_the_estimate_of_the_disk_holds_the_models_of_every_cell(make):
    plan = make()
    more = dataclasses.replace(plan, config=plan.config.model_copy(update={"seeds": 11}))
    models = 2 * 4 * room.parameters_of(plan)  # policy and critic in float32
    assert room.disk_bytes(more) - room.disk_bytes(plan) > 10 * 2 * models


def test_a_grid_that_trains_nothing_is_refused(tmp_path):
    found = CliRunner().invoke(app, ["sweep", "--arms", "sft", "--out", str(tmp_path / "run")])
    assert isinstance(found.exception, ConfigError)
    assert "no cell that trains" in str(found.exception)


def test_a_dry_run_shows_every_cell_and_the_disk(tmp_path):
    arguments = ["sweep", "--arms", "grid-ngram", "--set", "ppo.kl_coef=0.02,0.05", "--seeds", "3", "--dry-run"]
    found = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run")])
    assert found.exit_code == 0, found.output
    assert "Cells: 30, of which 0 are complete" in found.output
    assert "Disk: about" in found.output
    assert not (tmp_path / "run").exists()
