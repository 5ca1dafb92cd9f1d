"""Run by test_together.py as one of several processes: trains on a rule reward, then lets things go wrong one after another.

Leaves what came of it in the folder that it is given: `rank<k>.json` and `weights.pt`.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.cell_files import save_best_policy, save_models
from marl_bench.config import CheckpointConfig, EvaluationConfig, PpoConfig, RunConfig, SamplingConfig
from marl_bench.errors import MarlBenchError
from marl_bench.evaluation.evaluate import EvaluationRun, evaluate_policy
from marl_bench.launch import joined, read_launch
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.models.sharding import sharded
from marl_bench.records import Prompt
from marl_bench.run_dir import read_jsonl
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.ppo import PpoRun, train_ppo
from marl_bench.training.progress import NoProgress

SAMPLING = SamplingConfig(max_response_tokens=24, temperature=1.3)
# Ten rows in three minibatches are 4, 3 and 3, so that two processes have 2 and 1 rows of some of them; one response is unscored.
PPO = PpoConfig(
    updates=2,
    batch_size=10,
    micro_batch_size=3,
    minibatches=3,
    ppo_epochs=2,
    learning_rate=2e-5,
    critic_learning_rate=1e-3,
    schedule="constant",
    warmup_ratio=0.0,
    loss_average="macro",
    truncation="bootstrap",
    kl_controller="adaptive",
)
WORDS = ["cats", "dogs", "rent", "trains", "a very long walk with my sister and her friend"]
PROMPTS = [
    Prompt(f"p{number}", f"Number {number}: tell me about {word}. TL;DR:") for number, word in enumerate(WORDS * 3)
]


@dataclasses.dataclass
class LetterTask:
    """Rewards the share of words with an e; the response to one prompt has no score."""

    fails: bool = False
    metrics: tuple = ()

    def score(self, prompts, responses):
        if self.fails:
            raise ValueError("this process cannot score")
        words = [response.text.split() for response in responses]
        shares = [sum("e" in word for word in found) / max(len(found), 1) for found in words]
        return [None if prompt.id == "p3" else share for prompt, share in zip(prompts, shares, strict=True)]

    def oracle(self, prompts, responses):
        return None


def likelier_end(eos_id):
    """Lets responses end early, so that their lengths differ."""

    def add(_module, _arguments, logits):
        return logits + 5 * torch.nn.functional.one_hot(torch.tensor(eos_id), logits.shape[-1])

    return add


def trained(world, folder, *, task=None, drift=0.0, divided=False, store=None, progress=None):
    """Trains from the start, or from the newest checkpoint, and returns the actors."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    start = Path(model_folder("tiny"))
    actors = load_actors(
        policy=start, sft=start, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu")
    )
    actors = dataclasses.replace(actors, world=world)
    for model in (actors.policy, actors.reference):
        model.lm_head.register_forward_hook(likelier_end(actors.tokenizer.eos_token_id))
    with torch.no_grad():
        next(actors.policy.parameters()).view(-1)[0] += drift
    if divided:
        actors = sharded(actors, torch.device("cpu"))
    run = PpoRun("arm", 3, SAMPLING, 1.0, folder, checkpoints=store)
    baseline = MacroPpo(EveryNTokens(3), PPO)
    train_ppo(run, actors, task or LetterTask(), baseline, PROMPTS, progress or NoProgress())
    return actors


def error_of(work):
    """Returns class and text of the error that a function raises."""
    try:
        work()
    except MarlBenchError as error:
        return [type(error).__name__, str(error)]
    return None


def results(world, out):
    """Trains and evaluates; leaves the weights in a folder and returns the rest."""
    folder = out / f"folder{world.rank}"
    actors = trained(world, folder)
    config = RunConfig(ppo=PPO, sampling=SAMPLING, evaluation=EvaluationConfig(samples_per_prompt=3))
    evaluated = evaluate_policy(actors, LetterTask(), PROMPTS[:5], EvaluationRun(config, [], "share", 0))
    if world.is_main:
        torch.save({"policy": actors.policy.state_dict(), "critic": actors.critic.state_dict()}, out / "weights.pt")
    samples = [sample.to_json() for sample in evaluated.result.samples]
    return {"curve": list(read_jsonl(folder / "metrics.jsonl")), "samples": samples}


class StopsAt(NoProgress):
    """Asks to stop at the n-th boundary."""

    def __init__(self, boundary):
        self.left = boundary

    def stop_requested(self):
        self.left -= 1
        return self.left == 0


def sharded_results(world, out):
    """Trains models that are divided over the processes, stopped on the way and gone on, and evaluates; leaves policy and critic as folders."""
    folder = out / f"sharded{world.rank}"
    lines = (folder / "metrics.jsonl", folder / "timings.jsonl")

    def train(progress):
        store = Checkpoints(out / "checkpoints", {}, CheckpointConfig(keep_best=True), lines=lines, world=world)
        return trained(world, folder, divided=True, store=store, progress=progress), store

    stopped = error_of(lambda: train(StopsAt(4)))  # the rollout, then two of six optimizer steps are behind it
    actors, store = train(NoProgress())
    save_models(out / "sharded", actors, merged=False)
    save_best_policy(out / "sharded", actors, store, merged=False)
    held = {
        name: sum(weight.to_local().numel() for weight in model.parameters())
        / sum(w.numel() for w in model.parameters())
        for name, model in (("policy", actors.policy), ("critic", actors.critic), ("reference", actors.reference))
    }
    config = RunConfig(ppo=PPO, sampling=SAMPLING, evaluation=EvaluationConfig(samples_per_prompt=3))
    evaluated = evaluate_policy(actors, LetterTask(), PROMPTS[:5], EvaluationRun(config, [], "share", 0))
    samples = [sample.to_json() for sample in evaluated.result.samples]
    return {"curve": list(read_jsonl(lines[0])), "samples": samples, "held": held, "stopped": stopped}


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with joined(read_launch(os.environ)) as world:
        own, folder, last = results(world, out), out / f"folder{world.rank}", world.rank == world.size - 1
        own["sharded"] = sharded_results(world, out)
        own["failing"] = error_of(lambda: trained(world, folder, task=LetterTask(fails=last)))
        own["drifting"] = error_of(lambda: trained(world, folder, drift=1e-6 if last else 0.0))
        (out / f"rank{world.rank}.json").write_text(json.dumps(own))
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        own["lost"] = error_of(lambda: trained(world, folder))
    (out / f"rank{world.rank}.json").write_text(json.dumps(own))


if __name__ == "__main__":
    main()
