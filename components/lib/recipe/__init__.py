"""What a run is told: the settings classes, the recipes with every default of the project, and their reference.

It stands on nothing else, so anything may read a setting.
"""
