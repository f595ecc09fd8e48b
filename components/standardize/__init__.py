"""The step that turns any mix of sources into the files that every later stage uses."""
