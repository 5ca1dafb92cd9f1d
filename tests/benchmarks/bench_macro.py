"""Runs `marl-bench bench macro` at its full size: `python tests/benchmarks/bench_macro.py [--json FILE]`. Not collected by pytest."""

import sys

from marl_bench.cli.main import main

if __name__ == "__main__":
    main(["bench", "macro", *sys.argv[1:]])
