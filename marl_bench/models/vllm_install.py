"""Which vLLM is installed, and whether it fits. Imports neither vLLM nor torch."""

import importlib.metadata
import importlib.util
import os

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from marl_bench.config import RunConfig
from marl_bench.errors import ConfigError

SUPPORTED = ">=0.22,<0.32"
"""The range of the extra `vllm`."""

_HIGHEST_TEMPERATURE = 2.0

INSTALL = "pip install 'marl-bench[vllm]'"


def check_sampler(config: RunConfig) -> None:
    """Checks that the configured sampler can sample for this run.

    Raises:
        ConfigError: vLLM is missing or does not fit, or the run trains in a way that it cannot be handed weights of.
    """
    if config.sampler.backend != "vllm":
        return
    if config.lora.rank is not None:
        raise ConfigError(
            f"sampler.backend=vllm with lora.rank={config.lora.rank}: weights are handed over whole, an adapter on its base is not; "
            "set sampler.backend=transformers, or lora.rank=null."
        )
    for key, value in (
        ("sampling.temperature", config.sampling.temperature),
        ("evaluation.temperature", config.evaluation.temperature),
    ):
        if value is not None and value > _HIGHEST_TEMPERATURE:
            raise ConfigError(
                f"sampler.backend=vllm with {key}={value:g}: vLLM takes temperatures up to {_HIGHEST_TEMPERATURE:g}; lower it."
            )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ConfigError(
            f"sampler.backend=vllm in a training of {processes} processes: sharded weights are not handed over; "
            "start the run without torchrun, or set sampler.backend=transformers."
        )
    if config.sampler.mode == "colocated":
        check_version(installed_version(), where="sampler.backend=vllm")


def check_version(version: str | None, *, where: str) -> None:
    """Checks a version of vLLM; None is none.

    Raises:
        ConfigError: It is not in the range of the extra.
    """
    if version is None:
        raise ConfigError(f"{where}: vLLM is not installed; {INSTALL} (vllm{SUPPORTED}, a GPU machine).")
    try:
        fits = Version(version).release and SpecifierSet(SUPPORTED).contains(Version(version), prereleases=True)
    except InvalidVersion:
        fits = False
    if not fits:
        raise ConfigError(f"{where}: vLLM {version} does not fit, the extra needs vllm{SUPPORTED}; {INSTALL}.")


def installed_version() -> str | None:
    """Returns the version of the distribution that holds the package `vllm`, or None."""
    if importlib.util.find_spec("vllm") is None:
        return None
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:  # a build of another name, for example for CPUs
        names = importlib.metadata.packages_distributions().get("vllm", [])
        return importlib.metadata.version(names[0]) if names else "of unknown version"


def sampler_packages(config: RunConfig) -> dict[str, str | None]:
    """Returns the version of the vLLM that samples on this machine, for the record; nothing where none does."""
    if config.sampler.backend != "vllm" or config.sampler.mode != "colocated":
        return {}
    return {"vllm": installed_version()}
