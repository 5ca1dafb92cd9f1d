"""What is put back is what was saved, and nothing else gets in."""

import dataclasses
import pickle
import random
import resource

import numpy as np
import pytest
import safetensors.torch
import torch

from marl_bench.batches import Segmentation
from marl_bench.disk_space import full_disk_named
from marl_bench.errors import CheckpointError, DiskFullError
from marl_bench.training.state import RandomStates, TrainedWeights, load_parts, packed, save_parts, unpacked
from marl_bench.training.update import Tally

CPU = torch.device("cpu")


def model(width=3, frozen=False):
    made = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 1))
    made[0].requires_grad_(not frozen)
    return made


def test_the_random_states_of_all_libraries_go_on_where_they_were(tmp_path):
    save_parts(tmp_path, {"random": RandomStates()})
    expected = (random.gauss(0, 1), np.random.normal(size=3).tolist(), torch.rand(3).tolist())
    load_parts(tmp_path, {"random": RandomStates()}, device=CPU)
    assert (random.gauss(0, 1), np.random.normal(size=3).tolist(), torch.rand(3).tolist()) == expected


def test_only_trained_weights_are_saved():
    assert list(TrainedWeights(model(frozen=True)).state_dict()) == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda state: state.pop("1.bias"), r"its weights lack 1.bias \(1 such\)"),
        (lambda state: state.update(more=torch.zeros(1)), r"its weights have besides more \(1 such\)"),
        (
            lambda state: state.update({"0.weight": torch.zeros(4, 2)}),
            r"0.weight is torch.float32 \[4, 2\], the model has",
        ),
        (lambda state: state.update({"0.weight": torch.zeros(3, 2).double()}), "0.weight is torch.float64"),
    ],
)
def test_a_partial_load_is_refused_and_changes_nothing(tmp_path, change, text):
    ours = TrainedWeights(model())
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    state = TrainedWeights(model()).state_dict()
    change(state)
    torch.save(state, tmp_path / "policy.pt")
    with pytest.raises(CheckpointError, match=text):
        load_parts(tmp_path, {"policy": ours}, device=CPU)
    assert all(torch.equal(weight, before[name]) for name, weight in ours.state_dict().items())


def test_a_checkpoint_with_other_parts_is_refused(tmp_path):
    save_parts(tmp_path, {"policy": TrainedWeights(model())})
    with pytest.raises(CheckpointError, match="holds policy; this training consists of critic, policy"):
        load_parts(tmp_path, {"policy": TrainedWeights(model()), "critic": TrainedWeights(model())}, device=CPU)


def test_records_come_back_as_they_were(tmp_path):
    tally = Tally(steps=3, tokens=70, sums={"policy_loss": 0.1}, ratio_deviation=1e-6)
    rows = (torch.tensor([2, 0]), torch.tensor([1]))
    parts = Segmentation(torch.tensor([[0, 0, 1]]), torch.tensor([[2, 1]]), torch.tensor([[True, True]]), 1)
    torch.save(packed({"tally": tally, "rows": rows, "parts": parts, "none": None}), tmp_path / "x.pt")
    back = unpacked(torch.load(tmp_path / "x.pt", weights_only=True))
    assert back["tally"] == tally
    assert back["none"] is None
    assert isinstance(back["rows"], tuple)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(rows, back["rows"], strict=True))
    for field in dataclasses.fields(parts):
        mine, theirs = getattr(parts, field.name), getattr(back["parts"], field.name)
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs


def test_a_file_makes_nothing_run_and_nothing_be_imported(tmp_path):
    with pytest.raises(CheckpointError, match="record of type antigravity:x, which this version does not have"):
        unpacked({"__record__": "antigravity:x", "fields": {}})
    with pytest.raises(CheckpointError, match="record of type os:system"):
        unpacked({"__record__": "os:system", "fields": {"command": "true"}})
    torch.save({"policy": Runs()}, tmp_path / "policy.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_parts(tmp_path, {"policy": TrainedWeights(model())}, device=CPU)


class Runs:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_what_torch_and_safetensors_say_of_a_full_disk_is_understood(tmp_path):
    # A limit on the size of files stands in for the disk: the libraries meet the same failed write.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = {"a": torch.zeros(100_000)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        for write in (
            lambda: save_parts(tmp_path, {"policy": TrainedWeights(model(width=20_000))}),
            lambda: safetensors.torch.save_file(large, tmp_path / "a.safetensors"),
            lambda: (tmp_path / "lines").write_bytes(bytes(60_000)),
        ):
            with pytest.raises(DiskFullError, match="the disk is full"), full_disk_named(tmp_path):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
