"""Reading configurations in Python's syntax, of which nothing is run."""
