"""`python -m marl_bench` is `marl-bench`."""

from marl_bench.cli import main

if __name__ == "__main__":
    main()
