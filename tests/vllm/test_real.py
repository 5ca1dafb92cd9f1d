"""Real vLLM against transformers on the shipped tiny model, whose embeddings are tied. Minutes: `pytest -m soak tests/vllm`.

Skipped where vLLM is not installed; the extra is never installed by the checks of every change.
"""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
import torch

from marl_bench.config import RunConfig
from marl_bench.errors import SamplerError
from marl_bench.models.responses import respond
from marl_bench.models.sampling import SamplingSettings
from marl_bench.models.vllm_sampler import Samplers, VllmSampler, make_engine
from marl_bench.models.vllm_server import ServerEngine
from marl_bench.models.vllm_weights import write_weights
from marl_bench.records import Prompt

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM: pip install 'marl-bench[vllm]'"),
]

SETTINGS = SamplingSettings(max_response_tokens=32)
GREEDY = dataclasses.replace(SETTINGS, temperature=0)


@pytest.fixture(scope="module")
def engine(tiny, tmp_path_factory):
    """One engine for all tests of this file: its start takes a minute."""
    section = {"backend": "vllm", "gpu_memory_utilization": 0.05}
    config = RunConfig.model_validate({"sampler": section, "model": {"dtype": "float32"}})
    engine = make_engine(config, tiny, log=tmp_path_factory.mktemp("engine") / "vllm.log")
    yield engine
    engine.close()


@pytest.fixture
def sampler(engine, actors, config, with_engine):
    return with_engine(engine, actors, config)


def _prompts(count):
    return [
        Prompt(f"p{number}", f"Number {number} tells of cats{' and rent' * (number % 5)}. TL;DR:")
        for number in range(count)
    ]


def _respond(sampler, actors, prompts, settings, *, seed="test", batch_size=16):
    return respond(sampler, actors.tokenizer, prompts, settings=settings, batch_size=batch_size, seed_parts=(seed,))


def _ids(found):
    tokens = found.samples.tokens
    return [ids[mask].tolist() for ids, mask in zip(tokens.response_ids, tokens.response_mask, strict=True)]


def _moved(actors, amount=0.02):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in actors.policy.parameters():
            weight.add_(amount * torch.randn(weight.shape, generator=generator))


def test_greedy_responses_of_both_samplers_agree(sampler, actors):
    prompts = _prompts(32)
    assert _ids(_respond(sampler, actors, prompts, GREEDY)) == _ids(_respond(actors.sampler, actors, prompts, GREEDY))


def test_they_agree_after_the_weights_have_changed(sampler, actors):
    prompts = _prompts(16)
    before = _ids(_respond(sampler, actors, prompts, GREEDY))
    _moved(actors)
    after = _ids(_respond(sampler, actors, prompts, GREEDY))
    assert before != after
    assert after == _ids(_respond(actors.sampler, actors, prompts, GREEDY))


def test_log_probs_agree_to_rounding(sampler, actors):
    _moved(actors, 0.001)
    samples = _respond(sampler, actors, _prompts(32), SETTINGS).samples
    difference = (samples.token_log_probs - samples.token_sampler_log_probs).abs()
    assert 0 < float(difference.max()) < 1e-4


def test_same_seeds_give_the_same_responses_whatever_the_batch(sampler, actors):
    prompts = _prompts(300)  # more tokens than the engine reads at once
    first = _ids(_respond(sampler, actors, prompts, SETTINGS, batch_size=300))
    assert _ids(_respond(sampler, actors, prompts, SETTINGS, batch_size=300)) == first
    assert _ids(_respond(sampler, actors, prompts, SETTINGS, batch_size=7)) == first
    assert _ids(_respond(sampler, actors, prompts, SETTINGS, seed="another")) != first


@pytest.mark.parametrize(
    "changes", [{}, {"temperature": 2.0}, {"temperature": 2.0, "top_k": 12}, {"temperature": 2.0, "top_p": 0.9}]
)
def test_first_tokens_are_distributed_as_the_policy_has_it(changes, sampler, actors):
    """A chi-square test against the probabilities of the policy's own forward pass, cut to top-k and top-p by hand."""
    from scipy.stats import chisquare

    _moved(actors)  # flatter than the trained model
    settings = SamplingSettings(max_response_tokens=1, **changes)
    count, prompt = 2000, Prompt("one", "Tell me about cats. TL;DR:")
    found = _respond(sampler, actors, [prompt] * count, settings, batch_size=count)
    ids = torch.tensor([actors.tokenizer(prompt.text)["input_ids"]])
    with torch.no_grad():
        expected = (actors.policy(input_ids=ids).logits[0, -1].double() / settings.temperature).softmax(dim=0)
    ranked, order = expected.sort(descending=True)
    allowed = torch.ones_like(ranked, dtype=torch.bool)
    if settings.top_k:
        allowed[settings.top_k :] = False
    allowed &= ranked.cumsum(dim=0) - ranked < settings.top_p
    ranked = torch.where(allowed, ranked, 0) / ranked[allowed].sum()
    counts = torch.bincount(found.samples.tokens.response_ids[:, 0], minlength=len(order))[order].double()
    assert counts[~allowed].sum() == 0
    common = ranked * count >= 5
    seen = torch.cat([counts[common], counts[~common].sum().reshape(1)])
    hoped = torch.cat([ranked[common] * count, (ranked[~common].sum() * count).reshape(1)])
    keep = hoped > 0
    assert keep.sum() > 5
    assert chisquare(seen[keep].numpy(), hoped[keep].numpy()).pvalue > 1e-3


def test_an_engine_that_was_not_handed_the_head_is_found_out(engine, actors, config, tmp_path, monkeypatch):
    """What `save_pretrained` writes of a tied model names no head: the engine keeps the old one, without a word."""
    monkeypatch.setattr(
        "marl_bench.models.vllm_sampler.write_weights", lambda policy, folder: policy.save_pretrained(folder)
    )
    sampler = VllmSampler(actors.policy, lambda: engine, config.sampler, read=None, broken=lambda: None)
    _moved(actors, 0.01)
    with pytest.raises(SamplerError, match="after a weight update"):
        _respond(sampler, actors, _prompts(2), SETTINGS)
    write_weights(actors.policy, tmp_path)
    engine.load(tmp_path)  # and the way that is used puts it right


def test_killing_the_engine_while_it_samples_is_one_clear_error_and_another_starts(actors, tiny, config, tmp_path):
    samplers = Samplers(config, log=tmp_path / "vllm.log")
    with contextlib.closing(samplers):
        sampler = samplers.of(actors, start_from=tiny)
        _respond(sampler, actors, _prompts(4), SETTINGS)
        engine = samplers._engine
        own = engine.generate

        def killed_meanwhile(prompts, fields):
            threading.Timer(0.3, os.kill, (engine.process_id, signal.SIGKILL)).start()
            return own(prompts, fields)

        engine.generate = killed_meanwhile
        long = dataclasses.replace(SETTINGS, max_response_tokens=120, further_ends=())
        with pytest.raises(SamplerError, match="was killed by signal 9 during generate"):
            for _ in range(50):
                _respond(sampler, actors, _prompts(256), long, batch_size=256)
        assert _respond(sampler, actors, _prompts(4), GREEDY).responses


@pytest.fixture(scope="module")
def server(tiny, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = f"--model {tiny} --host 127.0.0.1 --port {port} --dtype float32 --enforce-eager --max-model-len 288"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments.split()]
    command += ["--generation-config", "vllm", "--gpu-memory-utilization", "0.05", "--no-enable-chunked-prefill"]
    log = (tmp_path_factory.mktemp("server") / "log").open("wb")
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health") as answer:
                if answer.status == 200:
                    break
            assert process.poll() is None, "the server ended"
            time.sleep(1)
        yield f"{address}/v1"
        os.killpg(process.pid, signal.SIGKILL)


def test_a_server_gives_the_same(server, actors, with_engine):
    config = RunConfig.model_validate({"sampler": {"backend": "vllm", "mode": "server", "base_url": server}})
    with contextlib.closing(ServerEngine(server, timeout_seconds=300)) as engine:
        sampler, prompts = with_engine(engine, actors, config), _prompts(24)
        _moved(actors)
        assert _ids(_respond(sampler, actors, prompts, GREEDY)) == _ids(
            _respond(actors.sampler, actors, prompts, GREEDY)
        )
        found = _respond(sampler, actors, prompts, SETTINGS)
        assert _ids(_respond(sampler, actors, prompts, SETTINGS)) == _ids(found)
        difference = (found.samples.token_log_probs - found.samples.token_sampler_log_probs).abs()
        assert 0 < float(difference.max()) < 1e-4
