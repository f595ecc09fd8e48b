"""What is remembered: the store (a directory or a bucket), its lock, and each run's plan, records and outcome.

Every step writes its record here; the champion is named here.
"""
