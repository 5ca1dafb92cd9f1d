"""Runs `marl-bench bench memory` at its full size: `python tests/benchmarks/bench_memory.py [--json FILE]`. Not collected by pytest."""

import sys

from marl_bench.cli.main import main

if __name__ == "__main__":
    main(["bench", "memory", *sys.argv[1:]])
