"""Which packages adapters and 4-bit weights need. Imports none of them, nor torch."""

import importlib.util

from marl_bench.config import LoraConfig
from marl_bench.errors import ModelError


def check_lora_installed(lora: LoraConfig) -> None:
    """Checks that the packages are installed that the settings need.

    Raises:
        ModelError: One is missing.
    """
    if lora.rank is not None:
        check_peft(f"lora.rank={lora.rank}:")
    if lora.quantize == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("lora.quantize=nf4: needs the package bitsandbytes: pip install 'marl-bench[qlora]'.")


def check_peft(what: str) -> None:
    """Checks that peft is installed.

    Raises:
        ModelError: It is not.
    """
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"{what} needs the package peft: pip install 'marl-bench[lora]'.")
