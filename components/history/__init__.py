"""The history of a registry: its runs and champions as a table and a page."""
