"""`python -m marl_bench` is `marl-bench`."""

from marl_bench.cli.main import main

if __name__ == "__main__":
    main()
