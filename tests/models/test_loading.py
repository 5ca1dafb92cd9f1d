"""What is refused before any training: unusable models, tokenizers and windows."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from marl_bench.errors import ModelError
from marl_bench.models.loading import (
    check_window,
    count_parameters,
    load_policy,
    load_reward_model,
    load_tokenizer,
    model_folder,
    shares_vocabulary,
)


@pytest.fixture
def tiny(tmp_path):
    """A copy of the shipped model that a test may spoil."""
    target = tmp_path / "model"
    shutil.copytree(model_folder("tiny"), target)
    return target


def edit(path: Path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_tokenizer_without_eos_is_refused(tiny):
    edit(tiny / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="has no EOS token"):
        load_tokenizer(str(tiny))


def test_a_folder_without_a_model_is_refused(tmp_path):
    for path in (str(tmp_path), str(tmp_path / "none"), "./none"):
        with pytest.raises(ModelError, match="no from_pretrained folder there"):
            load_policy(path, dtype="float32")


def test_damaged_weights_are_refused(tiny):
    (tiny / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_policy(str(tiny), dtype="float32")


def test_a_causal_model_gives_a_trunk_with_a_zero_head_and_its_own_weights():
    policy = load_policy("tiny", dtype="float32")
    classifier = load_reward_model("tiny", dtype="float32", pad_token_id=0)
    assert (classifier.score.weight == 0).all()
    assert classifier.score.weight.shape == (1, policy.config.hidden_size)
    for name, weight in policy.base_model.state_dict().items():
        assert torch.equal(weight, classifier.base_model.state_dict()[name])


def test_a_saved_reward_model_keeps_its_head_and_its_offset(tmp_path):
    classifier = load_reward_model("tiny", dtype="float32", pad_token_id=0)
    torch.nn.init.constant_(classifier.score.weight, 0.5)
    classifier.config.score_offset = -1.25
    classifier.save_pretrained(tmp_path)
    again = load_reward_model(str(tmp_path), dtype="float32", pad_token_id=0)
    assert (again.score.weight == 0.5).all()
    assert again.config.score_offset == -1.25


def test_another_vocabulary_is_told_from_the_same(tiny):
    other = load_tokenizer(str(tiny))
    assert shares_vocabulary(other, str(tiny))
    other.add_tokens(["<new>"])
    assert not shares_vocabulary(other, str(tiny))
    for path in tiny.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="without one it can read neither the policy's tokens nor texts"):
        shares_vocabulary(other, str(tiny))


def test_prompt_and_response_must_fit_the_window():
    check_window("tiny", max_prompt_tokens=1920, max_response_tokens=128)
    with pytest.raises(ModelError, match=r"its window holds 2048 tokens, .* are 1921 \+ 128"):
        check_window("tiny", max_prompt_tokens=1921, max_response_tokens=128)


def test_parameters_are_counted_without_loading_weights():
    policy = load_policy("tiny", dtype="float32")
    assert count_parameters("tiny") == sum(parameter.numel() for parameter in policy.parameters())
