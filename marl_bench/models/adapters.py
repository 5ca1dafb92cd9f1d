"""LoRA adapters on a frozen base, through peft.

A base is held once, whoever stands on it: policy, reference and critic are trees of modules of their own over the same tensors, and each tree
holds its own adapters or none. So the reference is the policy without its adapter at any moment, no adapter is switched on or off, and a
forward pass that gradient checkpointing repeats in the backward pass finds the adapters that it had before.
"""

import copy
import dataclasses
import itertools
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from marl_bench.config import LoraConfig
from marl_bench.errors import ConfigError, ModelError, UnknownNameError
from marl_bench.models.loading import model_of_shapes
from marl_bench.models.quantization import check_gpu

ADAPTER_NAME = "default"
PEFT_PREFIX = "base_model.model."
"""What peft puts before the names of weights in its files."""
WEIGHTS = "adapter_model.safetensors"
QUANTIZATION = "base_quantization.json"
"""File of an adapter's folder that says how its base was held, where that was in other than full precision."""


@dataclasses.dataclass(frozen=True)
class NewAdapter:
    """A new adapter on the SFT model; until it is trained it changes nothing.

    Attributes:
        lora: Its settings; they have a rank.
        seed: Of its first weights.
    """

    lora: LoraConfig
    seed: int


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """Returns the linear layers below a model's head, by their names in the trunk."""
    from transformers.pytorch_utils import Conv1D

    trunk = model.base_model
    return {name: module for name, module in trunk.named_modules() if isinstance(module, (nn.Linear, Conv1D))}


def adapter_targets(model: Any, lora: LoraConfig) -> list[str]:
    """Returns the last parts of the names of the layers that get an adapter.

    Raises:
        UnknownNameError: The model has no layer of a name.
        ModelError: It has no linear layers, or a layer of that name is of another kind.
        ConfigError: The rank is above what a layer can hold.
    """
    layers = linear_layers(model)
    what = type(model).__name__
    if not layers:
        raise ModelError(
            f"lora.rank={lora.rank}: {what} has no linear layers below its head; LoRA has nowhere to stand."
        )
    known = sorted({name.rpartition(".")[2] for name in layers})
    targets = known if lora.targets is None else list(lora.targets)
    others = {name for name, module in model.named_modules() if name and not list(module.children())} - set(layers)
    chosen: dict[str, nn.Module] = {}
    for target in targets:
        found = {name: layer for name, layer in layers.items() if _is_called(name, target)}
        if not found and any(_is_called(name, target) for name in others):
            raise ModelError(
                f"lora.targets: '{target}' of {what} is no linear layer below the head; adapters go on {', '.join(known)}."
            )
        if not found:
            raise UnknownNameError(f"layer of {what} in lora.targets", target, known)
        chosen |= found
    _check_rank(chosen, lora)
    return targets


def _is_called(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _check_rank(layers: Mapping[str, nn.Module], lora: LoraConfig) -> None:
    name, layer = min(layers.items(), key=lambda item: min(item[1].weight.shape))  # type: ignore[arg-type]  # it is a tensor
    rows, columns = _shape(layer)
    if lora.rank is not None and lora.rank > min(rows, columns):
        raise ConfigError(
            f"lora.rank={lora.rank}: layer {name} is {rows} x {columns}, where a rank above {min(rows, columns)} adds weights and nothing else; "
            f"take at most {min(rows, columns)}, or leave the layer out of lora.targets."
        )


def _shape(layer: nn.Module) -> tuple[int, int]:
    """Returns rows and columns of a layer's matrix; a quantised one is stored as a row of bytes."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    rows, columns = layer.weight.shape  # type: ignore[misc]  # it is a matrix
    return int(rows), int(columns)


def check_adapters(path: str, lora: LoraConfig) -> int:
    """Checks that adapters can be put on a model, from its configuration alone, and returns how many parameters they have.

    Raises:
        UnknownNameError: The model has no layer of a target's name.
        ModelError: A target is no linear layer, 4-bit weights need a GPU that is not there, or the configuration cannot be loaded.
        ConfigError: The rank is above what a layer can hold.
    """
    if lora.rank is None:
        return 0
    if lora.quantize != "none":
        check_gpu()
    model = model_of_shapes(path)
    targets = adapter_targets(model, lora)
    layers = [layer for name, layer in linear_layers(model).items() if any(_is_called(name, each) for each in targets)]
    return sum(lora.rank * sum(_shape(layer)) for layer in layers)


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that are trained, by name: all, or those of adapters and head."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def sharing_tensors(model: Any) -> Any:
    """Returns a copy of a model's modules and configuration that stands on the same parameters and buffers."""
    memo = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, memo)


def with_new_adapter(base: Any, adapter: NewAdapter) -> Any:
    """Returns a model on the base's tensors with an adapter of its own; freezes the base. Raises as `adapter_targets`."""
    model = sharing_tensors(base.requires_grad_(False))
    _add_adapter(model, adapter)
    return model


def critic_on(base: Any, adapter: NewAdapter) -> Any:
    """Returns a sequence classifier with one output on a frozen base: an adapter and a head of its own.

    Args:
        base: A sequence classifier, whose head is copied, or a causal LM, over whose trunk a head of zeros is put.
        adapter: Settings and seed.
    """
    shared = sharing_tensors(base.requires_grad_(False))
    classifier = shared if hasattr(shared, "score") else _with_zero_head(shared)
    classifier.score = copy.deepcopy(classifier.score)
    _add_adapter(classifier, adapter)
    classifier.score.requires_grad_(True)  # peft froze it
    return classifier


def _with_zero_head(model: Any) -> Any:
    """Returns a sequence classifier over the trunk of a causal LM."""
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(model.config)
    config.num_labels = 1
    with torch.device("meta"):
        classifier = AutoModelForSequenceClassification.from_config(config)
    setattr(classifier, classifier.base_model_prefix, model.base_model)
    classifier.score = classifier.score.to_empty(device=model.device).to(model.dtype)
    nn.init.zeros_(classifier.score.weight)
    return classifier.eval()


def _add_adapter(model: Any, adapter: NewAdapter) -> None:
    import peft

    with _seeded(model, adapter.seed):
        peft.inject_adapter_in_model(_peft_config(model, adapter.lora), model, ADAPTER_NAME)
    for weight in trainable_parameters(model).values():
        weight.data = weight.data.float()  # Adam's steps are too small for bfloat16


def _peft_config(model: Any, lora: LoraConfig, **kwargs: Any) -> Any:
    import peft
    from transformers.pytorch_utils import Conv1D

    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scale_numerator,
        target_modules=adapter_targets(model, lora),
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in linear_layers(model).values()),
        lora_dropout=0.0,  # dropout would make the log-probs of rollout and update differ
        base_model_name_or_path=model.name_or_path,
        **kwargs,
    )


@contextmanager
def _seeded(model: Any, seed: int) -> Iterator[None]:
    """Lets peft draw first weights from a seed, and leaves the random states as they were; its warnings are for those who call it by hand."""
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under names that are to go
        torch.manual_seed(seed)
        yield


def trained_model(
    load: Callable[[str], Any], lora: LoraConfig, train: Callable[[Any], dict[str, float]], *, seed: int
) -> tuple[Any, dict[str, float]]:
    """Trains a whole model, or an adapter that is then folded into it; a head called `score` is trained in any case.

    Args:
        load: Loads the model; takes how its linear layers are held.
        lora: Settings of the adapters.
        train: Trains in place and returns figures.
        seed: Of the adapter's first weights.

    Returns:
        The model in full precision and the figures.
    """
    if lora.rank is None or lora.stages == "ppo":
        model = load("none")
        return model, train(model)
    adapted = _wrapped(load(lora.quantize), lora, seed=seed)
    figures = train(adapted)
    learnt = trainable_parameters(adapted)
    if lora.quantize != "none":  # folded into 4-bit weights, an adapter would be rounded with them
        adapted = _wrapped(load("none"), lora, seed=seed)
        with torch.no_grad():
            for name, weight in trainable_parameters(adapted).items():
                weight.copy_(learnt[name])
    figures |= {"trainable_parameters": sum(weight.numel() for weight in learnt.values())}
    return adapted.merge_and_unload(safe_merge=True).requires_grad_(True), figures


def _wrapped(model: Any, lora: LoraConfig, *, seed: int) -> Any:
    """Returns peft's own kind of model, which the trainers of the supervised stages know."""
    import peft

    head = {"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if hasattr(model, "score") else {}
    with _seeded(model, seed):
        return peft.get_peft_model(model, _peft_config(model, lora, **{"task_type": "CAUSAL_LM", **head}))


def fold_in(model: Any) -> None:
    """Adds the adapters to the weights under them and takes them away, in place."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge(safe_merge=True)  # refuses what is not finite
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, layer.get_base_layer())
    del model.peft_config


def has_adapter(model: Any) -> bool:
    """Returns True if a model stands on a frozen base with an adapter."""
    return bool(getattr(model, "peft_config", None))


def save_model(model: Any, folder: Path, *, merged: bool, weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Writes a model as a `from_pretrained` folder, or its adapter (and head) as peft reads it.

    Args:
        model: A causal LM or a sequence classifier.
        folder: Where it goes: in a cell's folder.
        merged: Write a whole model in any case.
        weights: What it is written with, where that is not what it holds.
    """
    if not has_adapter(model):
        model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    elif merged:
        whole = copy.deepcopy(model)
        fold_in(whole)
        whole.save_pretrained(folder)
    else:
        _save_adapter(model, folder)


def _save_adapter(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = copy.copy(model.peft_config[ADAPTER_NAME])
    config.base_model_name_or_path = _base_as_named(Path(config.base_model_name_or_path), folder)
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)  # a set, whose order changes from process to process
    config.task_type = "CAUSAL_LM"
    weights = get_peft_model_state_dict(model)
    if hasattr(model, "score"):
        config.task_type, config.modules_to_save = "SEQ_CLS", ["score"]
        weights |= {"score.weight": model.score.weight}
        model.config.save_pretrained(folder)  # the offset stands there
    if getattr(model, "is_quantized", False):
        (folder / QUANTIZATION).write_text(json.dumps({"quantize": "nf4"}), encoding="utf-8")
    config.save_pretrained(str(folder))
    save_file(
        {f"{PEFT_PREFIX}{name}": weight.detach().cpu().contiguous() for name, weight in weights.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )


def _base_as_named(base: Path, folder: Path) -> str:
    """Returns how an adapter in a cell's folder names its base: relative to itself where the experiment holds it, so that it can be moved."""
    experiment = folder.resolve().parents[2]
    resolved = base.resolve()
    return os.path.relpath(resolved, folder.resolve()) if resolved.is_relative_to(experiment) else str(resolved)


def base_quantization(folder: Path) -> str:
    """Returns how the base of a stored adapter was held."""
    path = folder / QUANTIZATION
    return str(json.loads(path.read_text(encoding="utf-8"))["quantize"]) if path.is_file() else "none"


def with_stored_adapter(base: Any, folder: Path) -> Any:
    """Returns a model on the base's tensors with the adapter of a folder.

    Raises:
        ModelError: The adapter does not fit the base.
    """
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under a name that is to go
        try:
            return PeftModel.from_pretrained(sharing_tensors(base), str(folder)).get_base_model().eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"adapter '{folder}': does not fit its base model ({first}).") from error


def adapter_facts(models: Mapping[str, Any], lora: LoraConfig) -> dict[str, Any]:
    """Returns what a record says of the adapters of policy and critic."""
    present = {name: model for name, model in models.items() if model is not None and has_adapter(model)}
    targets = sorted(next(iter(present.values())).peft_config[ADAPTER_NAME].target_modules)
    return {
        "rank": lora.rank,
        "alpha": lora.scale_numerator,
        "targets": targets,
        "share_base": lora.share_base,
        "quantize": lora.quantize,
        "trainable_parameters": {
            name: sum(weight.numel() for weight in trainable_parameters(model).values())
            for name, model in present.items()
        },
        "parameters": {name: sum(weight.numel() for weight in model.parameters()) for name, model in present.items()},
    }
