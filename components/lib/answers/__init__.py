"""What is right: the parser of answers and its helpers, lm-eval's rules, and the verdicts on a completion.

Reward, evaluation, gate and `pipeline.py score` judge with it.
"""
