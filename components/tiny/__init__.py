"""The embedded demo: problems made by code, and a tiny model with its tokenizer."""
