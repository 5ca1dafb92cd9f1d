"""Memory of one GPU while PPO trains: what is held, and what each phase needs beside it. No torch.

Lengths are taken at their limits, so this is an upper bound for shorter texts.

Source: states of data-parallel training as in ZeRO (Rajbhandari et al. 2020, section 3); activations counted as in "Reducing Activation
Recomputation" (Korthikanti et al. 2022, section 4), here for gated decoders without dropout, as transformers 5 runs them: the tests hold the
count against what autograd saves.
"""

import dataclasses
from collections.abc import Mapping

from marl_bench.config import RunConfig
from marl_bench.estimates.gpus import Gpu
from marl_bench.estimates.shapes import ModelShape

GIB = 2**30
DTYPE_BYTES = {"float32": 4, "bfloat16": 2}
ADAM_STATES = 2
"""First and second moment, each in the type of what is trained."""
LOGIT_BYTES_UPDATE = 16
"""Of one logit at the peak between forward and backward: float32 copy, scaled copy, and two gradients."""
LOGIT_BYTES_SCORING = {"float32": 12, "bfloat16": 10}
"""Of one logit without gradients: as the model gave it, float32 copy, scaled copy."""
LOGIT_BYTES_DRAWING = 51
"""Of one logit where tokens are drawn: sorted in float64, for top-k and top-p."""
CONTEXT_GIB = 1.5
"""CUDA context, kernels and workspaces of the libraries; an assumption."""
FRAGMENTATION = 1.05
"""The caching allocator holds about this much more than what is in use; an assumption."""


@dataclasses.dataclass(frozen=True)
class Load:
    """What is trained.

    Attributes:
        config: Settings of the run.
        shape: Shape of policy, reference, critic and reward model alike.
        reward_model: True if the score is a reward model's.
    """

    config: RunConfig
    shape: ModelShape
    reward_model: bool

    @property
    def width(self) -> int:
        """Bytes of a weight."""
        return DTYPE_BYTES[self.config.model.dtype]

    @property
    def tokens(self) -> int:
        """Tokens of a row, at the limits."""
        return self.config.sampling.max_prompt_tokens + self.config.sampling.max_response_tokens

    @property
    def micro_batch(self) -> int:
        """Rows of a training pass."""
        return self._rows(self.config.memory.micro_batch_tokens, self.config.ppo.micro_batch_size)

    @property
    def score_batch(self) -> int:
        """Rows of a pass without gradients."""
        return self._rows(self.config.memory.score_batch_tokens, self.config.ppo.score_batch_size)

    @property
    def sample_batch(self) -> int:
        """Rows that are sampled at once."""
        return self._rows(self.config.memory.sample_batch_tokens, self.config.ppo.sample_batch_size)

    @property
    def adapter(self) -> int | None:
        """Parameters of a LoRA adapter on the layers that it is for; None where all weights are trained."""
        lora = self.config.lora
        if lora.rank is None:
            return None
        sides = self.shape.linear_sides
        names = sides if lora.targets is None else {name: sides[name] for name in lora.targets if name in sides}
        return lora.rank * self.shape.layers * sum(names.values())

    def _rows(self, token_limit: int | None, rows: int) -> int:
        limited = rows if token_limit is None else max(1, token_limit // self.tokens)
        return min(limited, self.config.ppo.batch_size)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        held: Name to bytes of what is there all the time.
        phases: Phase to name to bytes of what it needs beside.
    """

    held: Mapping[str, int]
    phases: Mapping[str, Mapping[str, int]]

    def of_phase(self, phase: str) -> int:
        """Returns the bytes of a phase, with what is held."""
        return sum(self.held.values()) + sum(self.phases[phase].values())

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self.of_phase)

    @property
    def needed_gib(self) -> float:
        """GiB that a GPU should have: the peak, what the allocator wastes, and the context."""
        return FRAGMENTATION * self.of_phase(self.peak_phase) / GIB + CONTEXT_GIB

    def fits(self, gpu: Gpu) -> bool:
        """Returns True if the GPU has that much."""
        return self.needed_gib <= gpu.memory_gib


def ppo_memory(load: Load, *, shards: int = 1) -> Memory:
    """Returns the memory of one GPU in the PPO stage; with shards, weights, gradients and optimizer states are divided among so many GPUs."""
    weights, trained = _weights(load), _trained(load)
    gradients = {f"gradients of the {name}": part.gradients for name, part in trained.items()}
    states = {f"optimizer of the {name}": part.states for name, part in trained.items()}
    # AdamW over all tensors at once makes a temporary of their size; the two optimizers step one after the other.
    temporaries = {"temporaries of the step": max(part.gradients for part in trained.values())}
    phases: dict[str, dict[str, int]] = {
        "sampling": _sampling(load),
        "scoring": _scoring(load),
        "update": {**_divided(gradients, shards), **_training_pass(load)},
        "optimizer step": _divided({**gradients, **temporaries}, shards),
    }
    if load.config.memory.offload:
        # One of the waiting models is there at a time, while the policy stays; the optimizers come for their step.
        others = {name: count for name, count in weights.items() if name != "policy"}
        weights = {"policy": weights["policy"]}
        visitor = {"largest of the models that wait": max(others.values(), default=0)}
        phases["scoring"] |= _divided(visitor, shards)
        phases["update"] |= _divided({"critic": others.get("critic", 0)}, shards)
        phases["optimizer step"] |= _divided({**states, "critic": others.get("critic", 0)}, shards)
        states = {}
    if shards > 1:
        for name, gathered in _gathered(load).items():
            phases[name] |= {"layers put together": gathered}
    return Memory(_divided({**weights, **states}, shards), phases)


def _gathered(load: Load) -> dict[str, int]:
    """Returns the bytes of divided models that are whole at a time.

    In a pass that is what is not in a layer, and with it two layers, one of which is on its way, or what is on its way itself. Losses of policy
    and critic go backward together, so what is not in their layers is there at once, with gradients; sums over the GPUs are made in float32.
    """
    shape, layer = load.shape, load.shape.layer_parameters
    outside = shape.parameters - shape.layers * layer
    outside_critic = shape.classifier_parameters - shape.layers * layer
    a_pass = (outside + max(outside, 2 * layer)) * load.width
    backward = (2 * layer + outside + outside_critic) * 2 * load.width
    summed = max(layer, outside, outside_critic) * DTYPE_BYTES["float32"]
    return {"sampling": a_pass, "scoring": a_pass, "update": backward + summed}


@dataclasses.dataclass(frozen=True)
class _Trained:
    """Bytes that training a model takes beside its weights."""

    gradients: int
    states: int


def _weights(load: Load) -> dict[str, int]:
    """Returns the bytes of each model; what stands on another one's weights has its adapter alone."""
    shape, lora = load.shape, load.config.lora
    policy, classifier = shape.parameters * load.width, shape.classifier_parameters * load.width
    if load.adapter is None:
        found = {"policy": policy, "reference": policy, "critic": classifier}
    else:
        adapter = load.adapter * DTYPE_BYTES["float32"]
        frozen = _frozen_bytes(load)
        found = {"policy": frozen + adapter, "reference": 0, "critic": adapter + shape.hidden * load.width}
        if load.reward_model and not lora.share_base and lora.quantize != "none":
            found["critic"] += frozen  # the reward model itself stays in full precision
    return {**found, "reward model": classifier} if load.reward_model else found


def _frozen_bytes(load: Load) -> int:
    """Returns the bytes of the policy's base: in 4 bits its layers' matrices, with a scale of 8 bits for each 64 of them."""
    shape = load.shape
    if load.config.lora.quantize == "none":
        return shape.parameters * load.width
    matrices = shape.layers * shape.layer_matrices
    return matrices // 2 + matrices // 64 + (shape.parameters - matrices) * load.width


def _trained(load: Load) -> dict[str, _Trained]:
    """Returns what training policy and critic takes: adapters in float32, whole models as they are or with float32 copies."""
    shape, width = load.shape, load.width
    if load.adapter is not None:
        four = DTYPE_BYTES["float32"] * load.adapter
        head = shape.hidden * width
        return {
            "policy": _Trained(four, ADAM_STATES * four),
            "critic": _Trained(four + head, ADAM_STATES * (four + head)),
        }
    masters = load.config.memory.master_weights is not None and width < DTYPE_BYTES["float32"]
    each = DTYPE_BYTES["float32"] if masters else width
    copies = 1 if masters else 0
    counts = {"policy": shape.parameters, "critic": shape.classifier_parameters}
    return {name: _Trained(count * each, (ADAM_STATES + copies) * count * each) for name, count in counts.items()}


def activation_bytes(shape: ModelShape, *, width: int, row_tokens: int) -> int:
    """Returns the bytes that autograd saves of one layer for one token of a row of that length, weights not counted."""
    narrow = width == 2
    # Of a norm: float32 input and normalised input (one tensor less to save where the input is float32 already), and what it gives, which
    # the next matrix reads; the norms after attention and feed-forward of Gemma 2 give to a sum, which reads nothing. Two scalars each.
    norms = 2 * shape.hidden * (10 if narrow else 12)
    norms += (shape.norms - 2) * shape.hidden * 8 + shape.norms * 8
    feed_forward = 4 * shape.intermediate * width  # gate, its activation, up, their product
    if shape.softcapped:
        attention = 4 * shape.query_width * width  # queries, keys and values repeated for all heads, output
        attention += (
            shape.heads * row_tokens * (width + 4 + (width if narrow else 0))
        )  # tanh, softmax in float32, its copy
    else:
        attention = (2 * shape.query_width + 2 * shape.kv_width) * width + 4 * shape.heads
    return norms + feed_forward + attention


def _training_pass(load: Load) -> dict[str, int]:
    """Returns what a forward and backward pass of policy and critic hold: both losses go backward together."""
    shape, config, width = load.shape, load.config, load.width
    tokens = load.micro_batch * load.tokens
    layer = activation_bytes(shape, width=width, row_tokens=load.tokens)
    if config.memory.gradient_checkpointing:
        a_model = tokens * shape.layers * shape.hidden * width
        activations = {"layer inputs of policy and critic": 2 * a_model, "one layer, computed again": tokens * layer}
    else:
        activations = {"activations of policy and critic": 2 * tokens * shape.layers * layer}
    per_logit = LOGIT_BYTES_UPDATE + (width if shape.softcapped else 0)
    return {**activations, "logits": _logits(load, rows=load.micro_batch) * per_logit}


def _sampling(load: Load) -> dict[str, int]:
    shape, config, width = load.shape, load.config, load.width
    rows = load.sample_batch
    return {
        "key-value cache": rows * load.tokens * shape.layers * 2 * shape.kv_width * width,
        "a layer of the prompts": rows * config.sampling.max_prompt_tokens * _passing_bytes(load),
        "logits": rows * shape.vocabulary * LOGIT_BYTES_DRAWING,
    }


def _scoring(load: Load) -> dict[str, int]:
    rows = load.score_batch
    per_logit = LOGIT_BYTES_SCORING[load.config.model.dtype] + (load.width if load.shape.softcapped else 0)
    return {
        "a layer": rows * load.tokens * _passing_bytes(load),
        "logits": _logits(load, rows=rows) * per_logit,
    }


def _logits(load: Load, *, rows: int) -> int:
    """Returns the logits that exist at once."""
    tokens = rows * load.config.sampling.max_response_tokens
    return min(tokens, load.config.memory.logits_chunk_tokens or tokens) * load.shape.vocabulary


def _passing_bytes(load: Load) -> int:
    """Returns what a layer holds of a token at its widest, without gradients."""
    shape = load.shape
    scores = shape.heads * load.tokens * (load.width + 4) if shape.softcapped else 0
    return 3 * shape.intermediate * load.width + 8 * shape.hidden + scores


def _divided(terms: Mapping[str, int], shards: int) -> dict[str, int]:
    return {name: -(-count // shards) for name, count in terms.items()}
