"""Time on a named GPU, phase by phase, from operations and bytes. No torch.

Lengths are taken at their limits. A pass over n tokens takes the longer of two times: its operations at a share of the matrix rate, its bytes
at a share of the bandwidth; sampling never goes faster than the host can start its kernels.

Source: 2 operations a matrix parameter and token, and 4 x query width x context a layer for attention (Kaplan et al. 2020, section 2.1); a
backward pass costs twice the forward; decoding bound by the bytes of weights and cache (Pope et al. 2022, section 2).
"""

import dataclasses
from collections.abc import Mapping

from marl_bench.config import SupervisedConfig
from marl_bench.estimates.gpus import Gpu
from marl_bench.estimates.memory import Load
from marl_bench.estimates.sizes import Sizes, supervised_steps

MATRIX_SHARE = 0.4
"""Share of the matrix rate that passes over whole rows reach; an assumption, usual for training without fused kernels."""
BANDWIDTH_SHARE = 0.6
"""Share of the bandwidth that decoding reaches; an assumption."""
SECONDS_TO_START_A_LAYER = 6e-4
"""What the host takes to start a layer's kernels in eager mode; an assumption, which bounds decoding with small batches."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """GPUs of one kind; rows of a batch are divided among them, and talk between them is not counted."""

    gpu: Gpu
    count: int = 1

    @property
    def operations(self) -> float:
        """Operations a second that passes reach."""
        return MATRIX_SHARE * self.gpu.bf16_tflops * 1e12

    @property
    def bytes(self) -> float:
        """Bytes a second that decoding reaches."""
        return BANDWIDTH_SHARE * self.gpu.bandwidth_gb * 1e9


def forward_operations(load: Load, *, tokens: int, logits: int) -> float:
    """Returns the operations of a forward pass over one row of so many tokens, with logits for so many of them."""
    shape = load.shape
    matrices = 2 * shape.layers * shape.layer_matrices * tokens + 2 * shape.head * logits
    attention = shape.layers * 4 * shape.query_width * tokens * (tokens + 1) / 2  # causal: token i sees i
    return matrices + attention


def ppo_seconds(load: Load, machine: Machine) -> dict[str, float]:
    """Returns the time of one PPO update by phase: sampling, scoring, update."""
    config = load.config
    rows = -(-config.ppo.batch_size // machine.count)
    response = config.sampling.max_response_tokens
    policy = forward_operations(load, tokens=load.tokens, logits=response)
    trunk = forward_operations(load, tokens=load.tokens, logits=0)
    scoring = policy + trunk * (2 if load.reward_model else 1)  # reference; critic and reward model
    if config.ppo.old_logprobs == "recomputed":
        scoring += policy
    # Forward, gradients of activations, gradients of weights (next to none with adapters), and the forward pass once more.
    passes = (3 if load.adapter is None else 2) + (1 if config.memory.gradient_checkpointing else 0)
    passes *= config.ppo.ppo_epochs
    return {
        "sampling": sampling_seconds(load, machine, rows=config.ppo.batch_size),
        "scoring": rows * scoring / machine.operations,
        "update": rows * passes * (policy + trunk) / machine.operations,
    }


def sampling_seconds(load: Load, machine: Machine, *, rows: int) -> float:
    """Returns the time to sample one response a row, batch after batch, all of them up to the limit."""
    shape, config = load.shape, load.config
    prompt, response = config.sampling.max_prompt_tokens, config.sampling.max_response_tokens
    mine = -(-rows // machine.count)
    batch = min(mine, load.sample_batch)
    weights = (shape.layers * shape.layer_parameters + shape.head) * load.width
    context = prompt + response / 2
    cache = batch * context * shape.layers * 2 * shape.kv_width * load.width
    matrices = 2 * (shape.layers * shape.layer_matrices + shape.head)
    operations = batch * (matrices + shape.layers * 4 * shape.query_width * context)
    step = max(
        (weights + cache) / machine.bytes, operations / machine.operations, shape.layers * SECONDS_TO_START_A_LAYER
    )
    prefill = batch * forward_operations(load, tokens=prompt, logits=1) / machine.operations
    return (prefill + response * step) * -(-mine // batch)


def stage_seconds(load: Load, machine: Machine, sizes: Sizes) -> dict[str, float]:
    """Returns the time of each shared stage whose steps are known."""
    config = load.config
    found = {}
    stages: Mapping[str, tuple[SupervisedConfig, int | None, int]] = {
        "sft": (config.sft, sizes.sft, 1),
        "reward model": (config.reward_model, sizes.preferences, 2),
    }
    for name, (settings, examples, rows) in stages.items():
        steps = supervised_steps(settings, examples)
        if steps is None or settings.path is not None or (name == "reward model" and not load.reward_model):
            continue
        logits = load.tokens if name == "sft" else 0
        row = 3 * forward_operations(load, tokens=load.tokens, logits=logits)
        batch = min(settings.batch_size, examples or settings.batch_size)
        found[name] = steps * -(-batch // machine.count) * rows * row / machine.operations
    return found


def evaluation_seconds(load: Load, machine: Machine, *, prompts: int) -> float:
    """Returns the time of one evaluation: sampling and, where there is a reward model, its scores."""
    rows = prompts * load.config.evaluation.samples_per_prompt
    scores = forward_operations(load, tokens=load.tokens, logits=0) if load.reward_model else 0.0
    return sampling_seconds(load, machine, rows=rows) + rows * scores / machine.operations / machine.count
