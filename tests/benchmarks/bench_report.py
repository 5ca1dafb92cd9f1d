"""Runs `marl-bench bench report`: `python tests/benchmarks/bench_report.py [--memory-samples 1000000]`. Not collected by pytest."""

import sys

from marl_bench.cli import main

if __name__ == "__main__":
    main(["bench", "report", *sys.argv[1:]])
