"""A study: variants of a recipe, each run with several seeds, and what can be said of their differences.

It starts runs as `pipeline.py run` does, and reads what they leave in their registries.
"""
