"""Compare: base, SFT and GRPO side by side, with intervals and paired tests.

It reads what evaluate saved and writes results.json and the report; it asks no model.
"""
