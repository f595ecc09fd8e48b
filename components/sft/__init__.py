"""SFT: the supervised warm-up on worked conversations.

Only the loss and its data are here; lib/training keeps a training alive.
"""
