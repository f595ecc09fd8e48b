"""Evaluate: ask a checkpoint all evaluation and gate problems, under each protocol.

It writes every answer with its verdict; of the candidate, where needed, those of the champion too.
"""
