"""The cases of `bench ppo`: models with random weights, prompts, and when responses end."""

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.errors import ConfigError
from marl_bench.models.loading import load_tokenizer, model_folder

TEMPERATURE = 0.8
LEARNING_RATE = 1e-6
"""So small that responses have the same lengths after many updates; an update costs the same at any rate."""
KL_COEF = 0.05
MEAN_ENDS = 2.25
"""EOS has this probability, divided by the limit, at every token: responses have 0.4 times the limit on average, and one in ten is cut."""

_CONSTANT = 0.5
"""Every token's embedding has this in its first column, to which no layer adds: the head sees a positive number there, which is EOS's to use."""
_WORDS = ("story", "author", "wants", "know", "whether", "long", "ends", "well", "garden", "letter", "brother", "night")


@dataclasses.dataclass(frozen=True)
class ModelShape:
    """A Llama with random weights and the shipped tokenizer.

    Attributes:
        name: In tables.
        hidden: Width.
        feed_forward: Width of the feed-forward layers.
        layers: Layers.
        heads: Attention heads.
        vocabulary: Size of the embedding and of the head, which share their weights.
    """

    name: str
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    vocabulary: int


TINY = ModelShape("tiny (0.46 M)", hidden=128, feed_forward=256, layers=2, heads=4, vocabulary=1024)
SMALL = ModelShape("10 M", hidden=320, feed_forward=864, layers=8, heads=5, vocabulary=1024)
WIDE = ModelShape("10 M, vocabulary 32,768", hidden=192, feed_forward=512, layers=8, heads=3, vocabulary=32_768)


@dataclasses.dataclass(frozen=True)
class PpoCase:
    """One model, one size, one regime.

    Attributes:
        model: Its shape.
        batch: Responses an update.
        prompt_tokens: Prompts have half of them to all of them.
        response_tokens: Limit.
        ppo_epochs: Passes over the rollout.
        ends: True if responses end with EOS after varying lengths, False if all run into the limit.
        rounds: Updates of each contender that count.
    """

    model: ModelShape
    batch: int
    prompt_tokens: int
    response_tokens: int
    ppo_epochs: int
    ends: bool
    rounds: int

    @property
    def name(self) -> str:
        """Names the case in tables."""
        regime = "varying length" if self.ends else "full length"
        epochs = "1 epoch" if self.ppo_epochs == 1 else f"{self.ppo_epochs} epochs"
        return f"{self.model.name}; {epochs}, {regime}"

    @property
    def size(self) -> str:
        """Batch and lengths in one text."""
        return f"{self.batch} x ({self.prompt_tokens} + {self.response_tokens})"


CASES = (
    PpoCase(TINY, batch=64, prompt_tokens=160, response_tokens=112, ppo_epochs=1, ends=True, rounds=5),
    PpoCase(TINY, batch=64, prompt_tokens=160, response_tokens=112, ppo_epochs=4, ends=False, rounds=3),
    PpoCase(SMALL, batch=32, prompt_tokens=64, response_tokens=64, ppo_epochs=1, ends=True, rounds=3),
    PpoCase(SMALL, batch=16, prompt_tokens=64, response_tokens=64, ppo_epochs=4, ends=False, rounds=2),
    PpoCase(WIDE, batch=32, prompt_tokens=64, response_tokens=64, ppo_epochs=1, ends=True, rounds=3),
)


def chosen_cases(cases: Sequence[PpoCase], *, only: str | None, rounds: int | None) -> list[PpoCase]:
    """Returns the cases that have `only` in their names, with `rounds` in place of their own.

    Raises:
        ConfigError: There is none.
    """
    found = [case for case in cases if (only or "") in case.name]
    if not found:
        names = "; ".join(f"'{case.name}'" for case in cases)
        raise ConfigError(f"--only '{only}': no case has that in its name; the cases are {names}.")
    return [case if rounds is None else dataclasses.replace(case, rounds=rounds) for case in found]


def make_models(case: PpoCase, folder: Path) -> None:
    """Writes `policy` and `reward_model` as `from_pretrained` folders, the policy's EOS as likely as the case wants it."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
    from transformers.utils.logging import disable_progress_bar

    shape, tokenizer = case.model, load_tokenizer("tiny")
    sizes = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
        reward_model = LlamaForSequenceClassification(LlamaConfig(**sizes, num_labels=1)).eval()
        ids = torch.randint(2, tokenizer.vocab_size, (16, case.prompt_tokens))
    _set_end_probability(policy, ids, tokenizer.eos_token_id, MEAN_ENDS / case.response_tokens if case.ends else 0.0)
    disable_progress_bar()
    for model, name in ((policy, "policy"), (reward_model, "reward_model")):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


@torch.no_grad()
def _set_end_probability(policy: Any, ids: torch.Tensor, eos_id: int, probability: float) -> None:
    """Sets EOS's weight on the constant so that its mean probability over texts is this at the benchmark's temperature."""
    weights = policy.get_input_embeddings().weight
    weights[:, 0] = _CONSTANT
    for layer in policy.base_model.layers:
        layer.self_attn.o_proj.weight[0] = 0
        layer.mlp.down_proj.weight[0] = 0
    if probability == 0:
        weights[eos_id, 0] = -100.0
        return
    low, high = -10.0, 10.0
    for _ in range(40):
        weights[eos_id, 0] = (low + high) / 2
        found = torch.softmax(policy(ids).logits / TEMPERATURE, dim=-1)[..., eos_id].mean()
        low, high = (low, float(weights[eos_id, 0])) if found > probability else (float(weights[eos_id, 0]), high)


def make_prompts(case: PpoCase) -> list[str]:
    """Returns one text for each response of an update, of half as many tokens as a prompt may have to all of them."""
    tokenizer, rng = load_tokenizer("tiny"), random.Random(0)
    prompts = []
    for _ in range(case.batch):
        limit, text = rng.randint(math.ceil(case.prompt_tokens / 2), case.prompt_tokens), "POST:"
        while len(tokenizer(longer := f"{text} {rng.choice(_WORDS)}")["input_ids"]) <= limit:
            text = longer
        prompts.append(text)
    return prompts


def settings_of(case: PpoCase, models: Path, prompts: Sequence[str], *, threads: int) -> dict[str, Any]:
    """Returns what both contenders are told."""
    return {
        "models": str(models),
        "prompts": list(prompts),
        "batch": case.batch,
        "response_tokens": case.response_tokens,
        "ppo_epochs": case.ppo_epochs,
        "temperature": TEMPERATURE,
        "learning_rate": LEARNING_RATE,
        "kl_coef": KL_COEF,
        "seed": 0,
        "threads": threads,
    }


def shipped_shape() -> dict[str, int]:
    """Returns the shipped model's own shape, which `TINY` copies."""
    content = json.loads((Path(model_folder("tiny")) / "config.json").read_text(encoding="utf-8"))
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    return {key: int(content[key]) for key in keys}
