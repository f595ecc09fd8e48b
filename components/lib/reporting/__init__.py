"""How results are told: statistics, wording, tables, pages and their charts, past runs, and messages about a run's end.

It computes and writes; what is compared with what, the steps decide.
"""
