"""Notify: the exit handler, which says how a run ended.

It writes the outcome, lets go of the lock, and finds out from the cluster what a dead step cannot say.
"""
