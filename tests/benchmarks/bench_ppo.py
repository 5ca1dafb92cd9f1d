"""Runs `marl-bench bench ppo`: `python tests/benchmarks/bench_ppo.py --against trl --install-peer [--json FILE]`. Not collected by pytest."""

import sys

from marl_bench.cli.main import main

if __name__ == "__main__":
    main(["bench", "ppo", *sys.argv[1:]])
