"""What the ten steps stand on, one wing each, and a few single modules that belong to none.

A wing imports only those below it; the order stands in .importlinter, and `make check` holds it.
"""
