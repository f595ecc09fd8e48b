"""Standardize: any mix of sources becomes the files that every later step uses.

lib/data decides about the rows; here it is said what happened to each.
"""
