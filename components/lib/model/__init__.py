"""What is known of a model before it is loaded: where its files lie, what they say, and what its template makes of us.

Read from its configuration and its tokenizer's files alone; neither torch nor transformers here.
"""
