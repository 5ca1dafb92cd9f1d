"""Stands in for vLLM in the child process: the calls as vLLM takes them, answers by script. Imports nothing heavy."""

import dataclasses
import os
import sys
import time


@dataclasses.dataclass
class Logprob:
    logprob: float


class SamplingParams:
    __struct_fields__ = ("watermarking",)

    def __init__(self, **fields):
        self.fields = fields


@dataclasses.dataclass
class Output:
    token_ids: list
    logprobs: list
    finish_reason: str


@dataclasses.dataclass
class Result:
    outputs: list
    prompt_logprobs: list


class LLM:
    def __init__(self, *, script, **arguments):
        self.script, self.calls = script, []
        if script == "no start":
            raise ValueError("Free memory on device is less than desired\nsecond line")

    def generate(self, prompts, params, *, use_tqdm):
        if self.script == "dies":
            sys.stdout.write("the last words\n")
            os.kill(os.getpid(), 9)
        if self.script == "hangs":
            time.sleep(600)
        if self.script == "refuses":
            raise RuntimeError("prompt is too long")
        if not isinstance(params, list):
            ids = prompts[0]["prompt_token_ids"]
            return [Result([], [None, *({token: Logprob(-token / 10)} for token in ids[1:])])]
        assert all(each.fields["watermarking"] is False and each.fields["detokenize"] is False for each in params)
        return [  # repeats the prompt and ends
            Result([Output([*ids, 1], [{token: Logprob(-1.0)} for token in [*ids, 1]], "stop")], [])
            for ids in (prompt["prompt_token_ids"] for prompt in prompts)
        ]

    def collective_rpc(self, method, kwargs):
        self.calls.append(method)

    def reset_prefix_cache(self):
        self.calls.append("reset")
        if self.script == "tells":
            raise RuntimeError(" ".join(self.calls))

    def wake_up(self, tags):
        self.calls.append(f"wake {tags[0]}")

    def sleep(self, level):
        self.calls.append(f"sleep {level}")
