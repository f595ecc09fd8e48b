"""Push: the release of a promoted model to the registry and, if asked, to the Hub.

It converts the weights, writes card and provenance, and makes the model the champion.
"""
