"""What runs in the interpreter of a benchmark's peer: nothing here imports anything of marl-bench but what stands in this folder."""
