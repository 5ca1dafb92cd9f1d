"""An engine with vLLM's interface but a transformers model inside, and a package `vllm` of scripted answers for the child process."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from marl_bench.batches import Tokens
from marl_bench.config import RunConfig
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import load_policy, model_folder
from marl_bench.models.sampling import SamplingSettings, sample_responses
from marl_bench.models.vllm_engine import Generated
from marl_bench.models.vllm_sampler import Samplers
from marl_bench.records import Prompt


class ModelEngine:
    """Samples row by row, without padding, from weights that it reads from the folder it is handed."""

    def __init__(self, folder, *, head_stays=False, shift=0.0):
        self.model = load_policy(str(folder), dtype="float32")
        if head_stays:  # as engines do that repack the head and reload a file that does not name it
            self.model.lm_head.weight = torch.nn.Parameter(self.model.lm_head.weight.detach().clone())
        self.head_stays, self.shift = head_stays, shift
        self.calls, self.prompts, self.fields = [], [], []

    def load(self, folder):
        self.calls.append("load")
        tensors = load_file(folder / "model.safetensors")
        if self.head_stays:
            tensors.pop("lm_head.weight")
        self.model.load_state_dict(tensors, strict=False)

    def generate(self, prompts, fields):
        self.calls.append("generate")
        self.prompts, self.fields = self.prompts + list(prompts), self.fields + list(fields)
        return [self._one(prompt, each) for prompt, each in zip(prompts, fields, strict=True)]

    def _one(self, prompt, fields):
        ids = torch.tensor([prompt])
        settings = SamplingSettings(
            fields["max_tokens"], fields["temperature"], fields["top_k"] or None, fields["top_p"]
        )
        end, *further = fields["stop_token_ids"]
        found = sample_responses(
            self.model,
            ids,
            torch.ones_like(ids, dtype=torch.bool),
            [fields["seed"]],
            settings=dataclasses.replace(settings, further_ends=further),
            eos_id=end,
            pad_id=0,
        )
        tokens: Tokens = found.tokens
        log_probs = [value + self.shift for value in found.token_log_probs[0].tolist()]
        return Generated(tokens.response_ids[0].tolist(), log_probs, bool(tokens.finished[0]))

    @torch.no_grad()
    def prompt_log_probs(self, prompt):
        self.calls.append("probe")
        log_probs = self.model(input_ids=torch.tensor([prompt])).logits[0].log_softmax(dim=-1)
        return [float(log_probs[place, token]) for place, token in enumerate(prompt[1:])]

    def sleep(self):
        self.calls.append("sleep")

    def close(self):
        self.calls.append("close")


@pytest.fixture(scope="session")
def tiny():
    return Path(model_folder("tiny"))


@pytest.fixture
def make_engine(tiny):
    return lambda **options: ModelEngine(tiny, **options)


@pytest.fixture
def make_actors(tiny):
    return lambda: load_actors(
        policy=tiny, sft=tiny, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu")
    )


@pytest.fixture
def actors(make_actors):
    return make_actors()


@pytest.fixture
def config():
    return RunConfig.model_validate({"sampler": {"backend": "vllm", "gpu_memory_utilization": 0.05}})


@pytest.fixture
def with_engine(monkeypatch, tmp_path, tiny):
    """Puts an engine in the place of the one that would be started, and returns the sampler of a policy."""

    def make(engine, actors, config):
        monkeypatch.setattr("marl_bench.models.vllm_sampler.make_engine", lambda *_, **__: engine)
        return Samplers(config, log=tmp_path / "vllm.log").of(actors, start_from=tiny)

    return make


@pytest.fixture
def prompts():
    texts = ("Cats.", "POST: number 7 says: tell me about the rent. TL;DR:", "Tell me about dogs and trains. TL;DR:")
    return [Prompt(f"p{number}", text) for number, text in enumerate(texts)]


@pytest.fixture
def scripted_vllm(monkeypatch, tmp_path):
    """Makes the package `vllm` of the child process the scripted one."""
    (tmp_path / "site").mkdir()
    shutil.copy(Path(__file__).with_name("scripted_vllm.py"), tmp_path / "site" / "vllm.py")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
