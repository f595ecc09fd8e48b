"""Reinforcement learning from answers that can be checked."""
