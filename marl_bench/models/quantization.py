"""A frozen base in 4 bits, through bitsandbytes."""

from typing import Any

import torch

from marl_bench.errors import ModelError


def check_gpu() -> None:
    """Checks that 4-bit weights can be computed with here.

    Raises:
        ModelError: There is no GPU.
    """
    if not torch.cuda.is_available():
        raise ModelError(
            "lora.quantize=nf4: needs a GPU, and torch sees none here; leave lora.quantize out, or run where there is one."
        )


def nf4_arguments(dtype: str) -> dict[str, Any]:
    """Returns what `from_pretrained` takes to hold the linear layers below the head in 4 bits, on the GPU.

    Raises:
        ModelError: There is no GPU.
    """
    from transformers import BitsAndBytesConfig

    check_gpu()
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=["lm_head", "embed_out", "score"],
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def is_exact(model: Any) -> bool:
    """Returns True if a model's forward passes differ by float32 rounding only, whatever rows they see at once."""
    return bool(model.dtype == torch.float32) and not getattr(model, "is_quantized", False)
