"""GRPO: reinforcement learning from answers that can be checked.

Rollouts, rewards, screening, the choice of the checkpoint, and the alarms are here.
"""
