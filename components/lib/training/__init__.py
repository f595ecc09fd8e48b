"""What SFT and GRPO share: the job, its parent and worker processes, checkpoints, metrics, memory and kernels.

What each of them learns by is in the steps.
"""
