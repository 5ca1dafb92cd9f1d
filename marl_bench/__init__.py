"""Benchmark suite that compares macro-action PPO with token-level PPO for RLHF."""
