"""Loads tokenizers, policies and reward models from a hub id or a `from_pretrained` folder."""

import importlib.resources
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from marl_bench.errors import ModelError
from marl_bench.models.lora_install import check_peft
from marl_bench.models.vocabulary import NEW_PAD, known_ids, set_pad_token

ADAPTER = "adapter_config.json"
"""File of a folder that holds a LoRA adapter of another model."""

SCORE_OFFSET = "score_offset"
"""Key in the reward model's `config.json`: added to the head's output, because the architecture's head has no bias."""


def model_folder(path: str) -> str:
    """Returns the folder or hub id that a `model.path` means; `tiny` is the shipped base model.

    Raises:
        ModelError: It looks like a local path and is no model folder.
    """
    if path == "tiny":
        return str(importlib.resources.files("marl_bench") / "models" / "tiny_base")
    folder = Path(path).expanduser()
    looks_local = folder.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not any((folder / name).is_file() for name in ("config.json", ADAPTER)):
        raise ModelError(
            f"model '{path}': no from_pretrained folder there (config.json is missing); give such a folder, a hub id, or tiny."
        )
    return str(folder) if looks_local else path


def load_tokenizer(path: str, *, may_add_pad: bool = False) -> Any:
    """Loads a tokenizer that pads prompts on the left; where it has no pad token, or the EOS as such, it takes one that no text holds.

    Args:
        path: Folder or hub id.
        may_add_pad: Whether the pad token may be a new one, because the model is about to be trained and can be given a row for it.

    Raises:
        ModelError: It cannot be loaded, has no EOS token, or no token can be its pad token.
    """
    from transformers import AutoTokenizer

    folder = model_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model '{path}': its tokenizer cannot be loaded ({_first_line(error)}).") from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model '{path}': its tokenizer has no EOS token; responses could not end. Set eos_token in tokenizer_config.json."
        )
    set_pad_token(tokenizer, path=path, may_add=may_add_pad)
    return tokenizer


def load_sampling_tokenizer(path: str) -> Any:
    """Loads a tokenizer for sampling and reading only, where masks tell padding apart: any pad token will do, or none.

    An adapter's folder without a tokenizer means that of its base model.

    Raises:
        ModelError: It cannot be loaded or has no EOS token.
    """
    from transformers import AutoTokenizer

    folder = model_folder(path)
    own = (Path(folder) / "tokenizer_config.json").is_file() or not (Path(folder) / ADAPTER).is_file()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder if own else base_of_adapter(folder), padding_side="left")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model '{path}': its tokenizer cannot be loaded ({_first_line(error)}).") from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model '{path}': its tokenizer has no EOS token; responses could not end. Set eos_token in tokenizer_config.json."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes a tokenizer without what its last call has left in it: how that one padded and cut."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
    tokenizer.save_pretrained(folder)


def base_of_adapter(folder: str) -> str:
    """Returns the base model of an adapter's folder, or the folder itself where it holds a whole model.

    Raises:
        ModelError: The adapter does not name its base model, or names a folder beside it that has gone.
    """
    path = Path(folder) / ADAPTER
    if not path.is_file():
        return folder
    try:
        base = str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: does not name its base model (base_model_name_or_path; {error!r}).") from error
    if not base.startswith(".."):
        return base
    beside = (Path(folder) / base).resolve()  # an adapter of ours names the model that its experiment holds
    if not (beside / "config.json").is_file():
        raise ModelError(
            f"{path}: its base model '{base}' is not there; keep the adapter in its experiment's folder, or write whole models with "
            "--set lora.save=merged."
        )
    return str(beside)


def load_policy(path: str, *, dtype: str, quantize: str = "none") -> Any:
    """Loads a causal language model with dropout off; a folder with an adapter gives its base model with the adapter on it.

    Args:
        path: Folder or hub id.
        dtype: Of the weights.
        quantize: How the linear layers of a whole model are held; an adapter of ours knows how those of its base were.

    Raises:
        ModelError: It cannot be loaded, or is an adapter and peft is not installed.
    """
    from transformers import AutoModelForCausalLM

    adapter = _local_adapter(path)
    if adapter is None:
        return _load(AutoModelForCausalLM, path, dtype=dtype, quantize=quantize)
    from marl_bench.models.adapters import base_quantization, with_stored_adapter

    base = load_policy(base_of_adapter(str(adapter)), dtype=dtype, quantize=base_quantization(adapter))
    return with_stored_adapter(base, adapter)


def _local_adapter(path: str) -> Path | None:
    """Returns the folder of an adapter, or None where a whole model or a hub id is meant."""
    folder = Path(model_folder(path))
    if not (folder / ADAPTER).is_file():
        return None
    check_peft(f"model '{path}': is a LoRA adapter, which")
    return folder


def load_reward_model(path: str, *, dtype: str, pad_token_id: int, quantize: str = "none") -> Any:
    """Loads a sequence classifier with one output and dropout off; a causal LM gives its trunk and a new head, which starts at zero.

    Args:
        path: Folder or hub id; the folder of a critic's adapter gives the critic.
        dtype: Of the weights.
        pad_token_id: Of the policy's tokenizer.
        quantize: How the linear layers below the head are held.

    Raises:
        ModelError: It cannot be loaded or its trunk and head cannot be told apart.
    """
    from transformers import AutoModelForSequenceClassification

    adapter = _local_adapter(path)
    if adapter is not None:
        from marl_bench.models.adapters import base_quantization, with_stored_adapter

        base_path, quantize = base_of_adapter(str(adapter)), base_quantization(adapter)
        base = load_reward_model(base_path, dtype=dtype, pad_token_id=pad_token_id, quantize=quantize)
        model = with_stored_adapter(base, adapter)
        stored = json.loads((adapter / "config.json").read_text(encoding="utf-8"))
        setattr(model.config, SCORE_OFFSET, stored.get(SCORE_OFFSET, 0.0))
        return model
    # A head missing from the weights is drawn from torch's global generator, so it is set below instead.
    model = _load(AutoModelForSequenceClassification, path, dtype=dtype, quantize=quantize, num_labels=1)
    if not hasattr(model, "score") or model.base_model is model:
        raise ModelError(
            f"model '{path}': {type(model).__name__} has no `score` head over a trunk; use a decoder with sequence classification."
        )
    if model.config.architectures and not any("SequenceClassification" in name for name in model.config.architectures):
        torch.nn.init.zeros_(model.score.weight)
    model.config.pad_token_id = pad_token_id
    return model


def load_classifier(path: str, *, dtype: str, device: torch.device) -> tuple[Any, Any]:
    """Loads a sequence classifier with one output, and its tokenizer, which pads on the right and cuts at the front.

    Without a pad token, or where it is the EOS, the model's `pad_token_id` is None: padding would hide the end of the text, so texts go
    through one by one.

    Raises:
        ModelError: It cannot be loaded, or has another number of outputs.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = model_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right", truncation_side="left")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"classifier '{path}': its tokenizer cannot be loaded ({_first_line(error)}).") from error
    model = _load(AutoModelForSequenceClassification, path, dtype=dtype)
    if model.config.num_labels != 1:
        raise ModelError(
            f"classifier '{path}': has {model.config.num_labels} outputs; a reward needs a sequence classifier with one."
        )
    if not any("SequenceClassification" in name for name in model.config.architectures or []):
        raise ModelError(
            f"classifier '{path}': is a {model.config.architectures}; a reward needs a sequence classifier."
        )
    hidden = tokenizer.pad_token_id in (None, tokenizer.eos_token_id)
    model.config.pad_token_id = None if hidden else tokenizer.pad_token_id
    return model.to(device).requires_grad_(False), tokenizer


def count_parameters(path: str) -> int:
    """Returns the number of parameters of a causal LM without loading its weights; raises as `model_of_shapes`."""
    return int(model_of_shapes(path).num_parameters())


def model_of_shapes(path: str) -> Any:
    """Returns a causal LM whose weights have shapes and no content.

    Raises:
        ModelError: Its configuration cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    config = _configuration(model_folder(path), path)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def check_window(path: str, *, max_prompt_tokens: int, max_response_tokens: int) -> None:
    """Checks that prompt and response fit the model's window.

    Raises:
        ModelError: They do not.
    """
    window = getattr(_configuration(base_of_adapter(model_folder(path)), path), "max_position_embeddings", None)
    if window is not None and max_prompt_tokens + max_response_tokens > window:
        raise ModelError(
            f"model '{path}': its window holds {window} tokens, sampling.max_prompt_tokens + max_response_tokens are "
            f"{max_prompt_tokens} + {max_response_tokens}; lower one of them."
        )


def check_tokenizer(path: str, tokenizer: Any) -> None:
    """Checks that a model has an embedding for every id of its tokenizer, a pad token that was just added aside.

    Raises:
        ModelError: It has not.
    """
    rows = int(_configuration(model_folder(path), path).get_text_config().vocab_size)
    known = known_ids(tokenizer) - (tokenizer.pad_token == NEW_PAD)
    if known > rows:
        raise ModelError(
            f"model '{path}': its tokenizer knows ids up to {known - 1}, the model has embeddings for {rows}; the tokenizer in its folder is "
            "that of another model."
        )


def _configuration(folder: str, path: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model '{path}': its configuration cannot be loaded ({_first_line(error)}).") from error


def shares_vocabulary(tokenizer: Any, path: str) -> bool:
    """Returns whether a model's tokenizer gives the ids of this one.

    Raises:
        ModelError: The model has no tokenizer, so that it could read neither ids nor texts.
    """
    from transformers import AutoTokenizer

    try:
        theirs = AutoTokenizer.from_pretrained(model_folder(path))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"model '{path}': its tokenizer cannot be loaded ({_first_line(error)}); without one it can read neither the policy's tokens nor "
            "texts. Save the tokenizer that it was trained with in its folder."
        ) from error
    return bool(tokenizer.get_vocab() == theirs.get_vocab())


def _load(auto_class: Any, path: str, *, dtype: str, quantize: str = "none", **kwargs: Any) -> Any:
    from transformers.utils import logging

    if quantize != "none":
        from marl_bench.models.quantization import nf4_arguments

        kwargs |= nf4_arguments(dtype)
    logging.disable_progress_bar()  # one line a model, in the middle of the command line's own output
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a reward model's new head would be announced as a defect
    try:
        model = auto_class.from_pretrained(model_folder(path), dtype=getattr(torch, dtype), **kwargs)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model '{path}': cannot be loaded ({_first_line(error)}).") from error
    finally:
        logging.set_verbosity(verbosity)
    # Dropout would make the rollout's log-probs and the update's differ; eval mode also holds while training.
    return model.eval()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
