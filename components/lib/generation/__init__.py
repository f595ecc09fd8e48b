"""What a model is asked and what it writes: the prompt format, requests, decoding, backends and partial results.

Rollouts, screening, sampling and evaluation share it.
"""
