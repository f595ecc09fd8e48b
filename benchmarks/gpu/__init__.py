"""What a GPU does with this project, measured in minutes on a machine with little installed."""
