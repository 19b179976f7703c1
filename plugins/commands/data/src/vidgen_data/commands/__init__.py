"""The commands of `vidgen data`: options and printing; the work is done in the modules beside this folder."""
