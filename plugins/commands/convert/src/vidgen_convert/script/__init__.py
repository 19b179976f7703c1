"""Reading shell scripts that launch one program, of which nothing is run."""
