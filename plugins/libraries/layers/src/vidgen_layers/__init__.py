"""Layers that vidgen's diffusion transformers share: patches, positions, embedders, attention, start values.

A library, not a plugin: it offers no component. Nothing is imported here, so that options can be read without torch.
"""
