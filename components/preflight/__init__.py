"""Preflight: everything that can be checked before a GPU is taken, and whether there is anything to do.

It takes the lock, tidies the registry, and fixes the revision of every input.
"""
