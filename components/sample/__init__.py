"""Sample: the base model solves training problems; what is right becomes data of SFT.

An optional step before standardize.
"""
