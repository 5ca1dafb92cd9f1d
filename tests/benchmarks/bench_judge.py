"""Runs `marl-bench bench judge`: `python tests/benchmarks/bench_judge.py [--concurrency 64]`. Not collected by pytest."""

import sys

from marl_bench.cli.main import main

if __name__ == "__main__":
    main(["bench", "judge", *sys.argv[1:]])
