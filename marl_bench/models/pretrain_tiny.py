"""Makes the tiny base model that ships with the package, tokenizer included.

    PYTHONPATH=tasks python -m marl_bench_tasks.tldr.texts > texts.jsonl
    python -m marl_bench.models.pretrain_tiny --texts texts.jsonl --out marl_bench/models/tiny_base

`texts.jsonl` holds one JSON string a line; any task may contribute lines. Training begins with drills, random token
strings that repeat: from them a two-layer model learns within minutes to copy out of its context, which it does not
learn from the texts alone. Then drills and language modelling alternate. One core, seeded.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD_TOKEN = "<|pad|>"
EOS_TOKEN = "<|eos|>"


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Sizes and schedule of the tiny base model.

    Attributes:
        drill_steps: optimizer steps on drills alone.
        mixed_steps: optimizer steps on texts, every fourth on drills again.
        drill_batch_size: drills a step.
        text_batch_size: texts a step.
        drill_tokens: length of a drill in tokens.
        text_tokens: tokens after which a text is cut.
        warmup_steps: steps over which the learning rate rises.
    """

    vocabulary_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 256
    layers: int = 2
    heads: int = 4
    max_positions: int = 2048
    drill_steps: int = 300
    mixed_steps: int = 900
    drill_batch_size: int = 32
    text_batch_size: int = 24
    drill_tokens: int = 128
    text_tokens: int = 256
    learning_rate: float = 3e-3
    warmup_steps: int = 30
    seed: int = 0


def read_texts(path: Path) -> list[str]:
    """Returns the texts of a file with one JSON string a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def train_tokenizer(texts: Sequence[str], *, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer, which encodes any Unicode text without loss."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD_TOKEN, EOS_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, config: PretrainConfig) -> LlamaForCausalLM:
    """Returns the untrained model."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.max_positions,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            dtype="float32",
        )
    )


def drill_batch(
    generator: torch.Generator, *, rows: int, sequence_tokens: int, token_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns token ids and labels [rows, sequence_tokens] of random strings that repeat.

    Only repeated tokens have labels (others are -100), because the first time they cannot be known. Lengths differ from
    row to row, so that the distance says nothing.
    """
    ids = torch.empty(rows, sequence_tokens, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row in range(rows):
        length = int(torch.randint(8, sequence_tokens // 2 + 1, (), generator=generator))
        drawn = torch.randint(len(token_ids), (length,), generator=generator)
        ids[row] = token_ids[drawn].repeat(math.ceil(sequence_tokens / length))[:sequence_tokens]
        labels[row, length:] = ids[row, length:]
    return ids, labels


def encode_texts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, text_tokens: int) -> torch.Tensor:
    """Returns token ids [texts, text_tokens]: each text ends with EOS, is cut at the right and padded at the right."""
    encoded = tokenizer(
        [text + EOS_TOKEN for text in texts],
        padding="max_length",
        padding_side="right",
        truncation=True,
        max_length=text_tokens,
        return_tensors="pt",
    )
    ids: torch.Tensor = encoded["input_ids"]
    return ids


def pretrain(model: LlamaForCausalLM, texts: torch.Tensor, config: PretrainConfig) -> None:
    """Trains the model in place.

    Args:
        model: the untrained model.
        texts: token ids [texts, T], right-padded.
        config: sizes and schedule.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    steps = config.drill_steps + config.mixed_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / config.warmup_steps, 0.02 + 0.98 * (1 - step / steps))
    )
    drillable = torch.arange(model.config.eos_token_id + 1, model.config.vocab_size)
    for step in range(steps):
        if step < config.drill_steps or step % 4 == 0:
            ids, labels = drill_batch(
                generator, rows=config.drill_batch_size, sequence_tokens=config.drill_tokens, token_ids=drillable
            )
        else:
            ids = texts[torch.randint(len(texts), (config.text_batch_size,), generator=generator)]
            labels = ids.masked_fill(ids == model.config.pad_token_id, -100)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            sys.stderr.write(f"step {step + 1} of {steps}, loss {loss.item():.3f}\n")


def main() -> None:
    """Reads the texts, trains, and writes the model's folder."""
    parser = argparse.ArgumentParser(description="Make the tiny base model.")
    parser.add_argument("--texts", type=Path, required=True, help="one JSON string a line")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    for field in dataclasses.fields(PretrainConfig):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default, help="[default: %(default)s]")
    arguments = parser.parse_args()
    config = PretrainConfig(
        **{field.name: getattr(arguments, field.name) for field in dataclasses.fields(PretrainConfig)}
    )
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    texts = read_texts(arguments.texts)
    tokenizer = train_tokenizer(texts, vocabulary_size=config.vocabulary_size)
    model = build_model(tokenizer, config)
    pretrain(model, encode_texts(tokenizer, texts, text_tokens=config.text_tokens), config)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
