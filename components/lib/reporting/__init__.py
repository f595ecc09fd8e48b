"""How results are told: statistics, wording, tables, charts, the page of past runs, and messages about a run's end.

It computes and writes; what is compared with what, the steps decide.
"""
