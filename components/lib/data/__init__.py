"""What a row is: where rows come from, how each schema is read, and which of them are fit for use.

`standardize` writes with it what later steps read; `sample` and the teacher ask it which problems may be used.
"""
