"""Runs `marl-bench bench execution`: `python tests/benchmarks/bench_execution.py [--endurance 100000]`. Not collected by pytest."""

import sys

from marl_bench.cli.main import main

if __name__ == "__main__":
    main(["bench", "execution", *sys.argv[1:]])
