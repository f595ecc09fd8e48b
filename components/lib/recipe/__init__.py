"""What a run is told: the settings classes, the recipes with every default of the project, and their reference.

It stands on hardly anything else, so nearly everything may read a setting.
"""
