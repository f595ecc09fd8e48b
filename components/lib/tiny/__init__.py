"""The embedded demo: problems made by code, and a tiny model with its tokenizer and the code that made it.

The recipe `tiny` learns from it on a laptop.
"""
