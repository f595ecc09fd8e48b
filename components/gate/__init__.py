"""Gate: whether a trained model is good enough to be pushed.

It compares with base and champion on problems that nothing else has looked at, and says why.
"""
