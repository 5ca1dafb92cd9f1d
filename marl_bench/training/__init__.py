"""SFT and reward model (TRL), and the shared PPO trainer."""
