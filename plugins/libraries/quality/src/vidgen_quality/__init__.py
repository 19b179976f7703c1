"""How much clips are alike, and pictures that show them: what jobs and metrics share.

A library, not a plugin: it offers no component. Nothing is imported here, so that it costs nothing to name it.
"""
