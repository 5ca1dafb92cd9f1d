"""Activations that are computed again in the backward pass, for models that stay in evaluation mode."""

from typing import Any

from marl_bench.errors import ModelError
from marl_bench.models.chunked_logits import causal_lm


def checkpoint_activations(model: Any, *, name: str) -> None:
    """Makes a model of transformers keep one activation a layer for the backward pass.

    A layer does so in training mode only. Its parts stay in evaluation mode, so that dropout stays off and log-probs stay those of the rollout;
    dropout that the layer applies itself is set to 0.

    Raises:
        ModelError: The architecture has no layers that can.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    whole = causal_lm(model)
    layers = [module for module in whole.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers or not whole.supports_gradient_checkpointing:
        raise ModelError(
            f"memory.gradient_checkpointing: {name} is a {type(whole).__name__}, whose layers cannot be computed again; set it to false."
        )
    # Without dropout there are no random states to keep.
    whole.activation_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    for layer in layers:
        layer.training = True
        for attribute, value in list(vars(layer).items()):
            if "drop" in attribute and isinstance(value, float):
                setattr(layer, attribute, 0.0)
