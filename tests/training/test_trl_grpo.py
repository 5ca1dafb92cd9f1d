"""Macro actions in TRL's GRPO trainer: identities with TRL's own, on a tiny random model."""

import warnings

import pytest
import torch

from marl_bench.errors import ConfigError
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.loading import load_tokenizer
from marl_bench.planning import build_rule, plan_rule

PROMPTS = ["tell me of dogs", "two cats", "a train", "rain"]


def _reward(completions, **_):
    return [float(text.count("e")) - 0.1 * len(text) for text in completions]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


def _train(tokenizer, folder, trainer_type, *, level="token", beta=0.0, **options):
    """Returns the weights after four optimizer steps on two generations, the second step of each off-policy."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), eos_token_id=1, pad_token_id=0, bos_token_id=None, **sizes)
    )
    model.save_pretrained(folder / "model")
    model = LlamaForCausalLM.from_pretrained(folder / "model")  # where TRL finds the reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what TRL and transformers say of each other
        arguments = GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=8,
            num_generations=4,
            num_iterations=2,
            max_completion_length=9,
            max_steps=4,
            learning_rate=0.05,
            beta=beta,
            importance_sampling_level=level,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
            seed=1,
        )
        trainer = trainer_type(
            model=model,
            reward_funcs=_reward,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
            processing_class=tokenizer,
            **options,
        )
        trainer.train()
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.fixture(scope="module")
def trainers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import GRPOTrainer

        from marl_bench.training.trl_grpo import MacroGrpoTrainer
    return GRPOTrainer, MacroGrpoTrainer


def test_with_token_ratios_and_lambda_one_it_is_trls_own(tokenizer, trainers, tmp_path):
    plain, macro = trainers
    expected = _train(tokenizer, tmp_path, plain)
    found = _train(tokenizer, tmp_path, macro, rule=EveryNTokens(3), ratio_level="token")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_one_token_a_macro_action_is_the_token_level(tokenizer, trainers, tmp_path):
    plain, macro = trainers
    expected = _train(tokenizer, tmp_path, plain, beta=0.1)
    found = _train(tokenizer, tmp_path, macro, rule=EveryNTokens(1), ratio_level="macro", beta=0.1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_whole_response_as_a_macro_action_is_trls_sequence_level(tokenizer, trainers, tmp_path):
    plain, macro = trainers
    expected = _train(tokenizer, tmp_path, plain, level="sequence")
    found = _train(tokenizer, tmp_path, macro, rule=EveryNTokens(float("inf")))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_macro_ratios_a_lambda_and_a_rule_on_text_train_something_else(tokenizer, trainers, registry, tmp_path):
    plain, macro = trainers
    rule = build_rule(plan_rule("clause", registry), registry)
    weights = [
        _train(tokenizer, tmp_path, plain),
        _train(tokenizer, tmp_path, macro, rule=rule),
        _train(tokenizer, tmp_path, macro, rule=EveryNTokens(3), ratio_level="token", gae_lambda=0.5),
    ]
    assert all(torch.isfinite(each).all() for each in weights)
    assert all(float((weights[0] - each).abs().max()) > 1e-3 for each in weights[1:])


def test_what_does_not_go_with_macro_ratios_is_refused(tokenizer, trainers, registry, tmp_path):
    _, macro = trainers
    with pytest.raises(ConfigError, match="the rule reads ref_logprobs"):
        _train(tokenizer, tmp_path, macro, rule=build_rule(plan_rule("perplexity", registry), registry))
    with pytest.raises(ConfigError, match="importance_sampling_level must be token"):
        _train(tokenizer, tmp_path, macro, level="sequence", rule=EveryNTokens(2))
