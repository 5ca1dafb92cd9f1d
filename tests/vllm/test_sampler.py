"""What is made of an engine's answers, with an engine of transformers' in the place of vLLM."""

import pytest
import torch
from safetensors.torch import load_file

from marl_bench.config import RunConfig
from marl_bench.errors import ModelError, SamplerError
from marl_bench.models.responses import respond
from marl_bench.models.sampling import SamplingSettings, row_seed
from marl_bench.models.scoring import response_log_probs
from marl_bench.models.vllm_engine import Generated
from marl_bench.models.vllm_sampler import Samplers
from marl_bench.models.vllm_weights import make_weights_folder, write_weights


def _respond(sampler, actors, prompts, **changes):
    settings = SamplingSettings(**{"max_response_tokens": 12, **changes})
    return respond(sampler, actors.tokenizer, prompts, settings=settings, batch_size=2, seed_parts=("test",))


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_responses_are_those_of_the_transformers_sampler(
    temperature, with_engine, make_engine, actors, config, prompts
):
    # The engine here draws as ours do, so that not only greedy responses agree.
    found = _respond(with_engine(make_engine(), actors, config), actors, prompts, temperature=temperature)
    expected = _respond(actors.sampler, actors, prompts, temperature=temperature)
    assert [response.text for response in found.responses] == [response.text for response in expected.responses]
    for name in ("prompt_ids", "response_ids", "response_mask", "finished"):
        assert torch.equal(getattr(found.samples.tokens, name), getattr(expected.samples.tokens, name))
    torch.testing.assert_close(found.samples.token_log_probs, expected.samples.token_log_probs, atol=2e-5, rtol=0)
    torch.testing.assert_close(found.samples.token_entropies, expected.samples.token_entropies, atol=2e-5, rtol=0)


def test_the_engine_gets_prompts_without_padding_and_a_seed_a_row(with_engine, make_engine, actors, config, prompts):
    engine = make_engine()
    _respond(with_engine(engine, actors, config), actors, prompts)
    assert engine.prompts == [actors.tokenizer(prompt.text)["input_ids"] for prompt in prompts]
    assert [each["seed"] for each in engine.fields] == [row_seed("test", prompt.id, 0) for prompt in prompts]


def test_every_field_that_changes_a_response_is_set(with_engine, make_engine, actors, config, prompts):
    engine = make_engine()
    changes = {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "further_ends": (5, 6)}
    _respond(with_engine(engine, actors, config), actors, prompts[:1], **changes)
    assert engine.fields[0] == {
        "n": 1,
        "max_tokens": 12,
        "min_tokens": 0,
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 9,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": row_seed("test", "p0", 0),
        "stop": [],
        "stop_token_ids": [actors.tokenizer.eos_token_id, 5, 6],
        "ignore_eos": True,
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "logprobs": 0,
    }


def test_log_probs_are_the_policys_own_whatever_the_engine_says(with_engine, make_engine, actors, config, prompts):
    samples = _respond(with_engine(make_engine(shift=0.5), actors, config), actors, prompts, temperature=0.7).samples
    mask = samples.tokens.response_mask
    read = response_log_probs(actors.policy, samples.tokens, temperature=1.0).token_log_probs
    torch.testing.assert_close(samples.token_log_probs, read.detach(), atol=2e-5, rtol=0)
    # The engine's log-probs are those at temperature 1 here, 0.5 nats too high.
    torch.testing.assert_close(samples.token_sampler_log_probs[mask], (read + 0.5)[mask].detach(), atol=2e-5, rtol=0)
    assert (samples.token_sampler_log_probs[~mask] == 0).all()


def test_weights_are_handed_over_once_a_rollout(with_engine, make_engine, actors, config, prompts):
    engine = make_engine()
    sampler = with_engine(engine, actors, config)
    _respond(sampler, actors, prompts)  # two batches
    assert engine.calls == ["load", "probe", "generate", "generate"]
    with torch.no_grad():
        for weight in actors.policy.parameters():
            weight.mul_(1.01)
    before = _respond(sampler, actors, prompts)
    assert engine.calls[4:] == ["load", "probe", "generate", "generate"]
    torch.testing.assert_close(
        before.samples.token_sampler_log_probs, before.samples.token_log_probs, atol=2e-5, rtol=0
    )


def test_weights_that_change_within_a_rollout_are_handed_over_again(with_engine, make_engine, actors, config):
    engine = make_engine()
    sampler = with_engine(engine, actors, config)
    ids = torch.tensor([[5, 6, 7]])
    arguments = {"settings": SamplingSettings(2), "eos_id": 1, "pad_id": 0}
    optimizer = torch.optim.AdamW(actors.policy.parameters(), lr=1e-3)
    sampler.sample(ids, ids > 0, [1], **arguments)
    sampler.sample(ids, ids > 0, [2], **arguments)
    actors.policy(input_ids=ids).logits.sum().backward()
    optimizer.step()
    sampler.sample(ids, ids > 0, [3], **arguments)
    assert engine.calls == ["load", "probe", "generate", "generate", "load", "probe", "generate"]


def test_an_engine_that_keeps_its_old_head_is_found_out(with_engine, make_engine, actors, config, prompts):
    engine = make_engine(head_stays=True)
    sampler = with_engine(engine, actors, config)
    _respond(sampler, actors, prompts)
    with torch.no_grad():
        actors.policy.lm_head.weight.add_(0.05 * torch.randn(actors.policy.lm_head.weight.shape))
    with pytest.raises(SamplerError, match=r"after a weight update .* differ from the policy's by .* nats") as caught:
        _respond(sampler, actors, prompts)
    assert caught.value.exit_status == 1
    assert engine.calls[-1] == "close"  # the next cell starts another engine


def test_the_tolerance_of_the_weights_is_a_setting(with_engine, make_engine, actors, prompts):
    engine = make_engine()
    own = engine.prompt_log_probs
    engine.prompt_log_probs = lambda prompt: [value + 0.01 for value in own(prompt)]
    section = {"backend": "vllm", "max_sync_difference": 0.02}
    _respond(with_engine(engine, actors, RunConfig.model_validate({"sampler": section})), actors, prompts)
    section["max_sync_difference"] = 0.005
    with pytest.raises(SamplerError, match=r"by 0.01 nats a token, allowed are 0.005"):
        _respond(with_engine(engine, actors, RunConfig.model_validate({"sampler": section})), actors, prompts)


def test_weights_name_a_tied_head_and_leave_nothing_behind(actors, tmp_path):
    assert actors.policy.config.tie_word_embeddings
    folder = make_weights_folder(str(tmp_path / "shared"))
    write_weights(actors.policy, folder)
    tensors = load_file(folder / "model.safetensors")
    assert torch.equal(tensors["lm_head.weight"], actors.policy.model.embed_tokens.weight)
    assert tensors.keys() == actors.policy.state_dict().keys()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Generated([], [], False), "a response of 0 tokens"),
        (Generated([7] * 13, [-1.0] * 13, False), "a response of 13 tokens"),
        (Generated([7] * 5, [-1.0] * 5, False), "a response of 5 tokens and 5 log-probs that was cut"),
        (Generated([7] * 12, [-1.0] * 12, True), "12 tokens and 12 log-probs that ended"),
        (Generated([7] * 12, [-1.0] * 11, False), "12 tokens and 11 log-probs"),
    ],
)
def test_a_response_that_is_none_is_refused(response, message, with_engine, make_engine, actors, config, prompts):
    engine = make_engine()
    engine.generate = lambda prompts, fields: [response for _ in prompts]
    with pytest.raises(SamplerError, match=message):
        _respond(with_engine(engine, actors, config), actors, prompts)


def test_a_missing_response_is_noticed(with_engine, make_engine, actors, config, prompts):
    engine = make_engine()
    engine.generate = lambda prompts, fields: []
    with pytest.raises(SamplerError, match="gave 0 responses to 2 prompts"):
        _respond(with_engine(engine, actors, config), actors, prompts)


def test_transformers_stays_the_sampler_of_a_default_run(with_engine, actors):
    assert with_engine(None, actors, RunConfig()) is actors.sampler


def test_samples_keep_the_engines_log_probs_when_rows_are_taken(with_engine, make_engine, actors, config, prompts):
    found = _respond(with_engine(make_engine(shift=0.5), actors, config), actors, prompts)
    index = torch.tensor([2, 0])
    expected = found.samples.token_sampler_log_probs[index]
    assert torch.equal(found.samples.rows(index).token_sampler_log_probs, expected)


def test_an_adapter_on_its_base_is_refused(with_engine, actors, config):
    actors.policy.peft_config = {}
    with pytest.raises(ModelError, match="the policy is an adapter on its base, weights are handed over whole"):
        with_engine(None, actors, config)


def test_policies_share_an_engine_whose_start_is_told_once(
    make_engine, make_actors, config, prompts, tiny, monkeypatch
):
    started, told = [], []
    monkeypatch.setattr(
        "marl_bench.models.vllm_sampler.make_engine", lambda *_, **__: started.append(make_engine()) or started[-1]
    )
    samplers = Samplers(config, log=tiny / "unused")
    samplers.tell = told.append
    for _ in range(2):
        actors = make_actors()
        _respond(samplers.of(actors, start_from=tiny), actors, prompts)
    assert (len(started), told) == (1, ["the vLLM engine starts, which takes a minute or two."])
    assert started[0].calls.count("load") == 2  # each policy's own weights
    samplers.close()
    assert started[0].calls[-1] == "close"
