"""Classifier-free guidance, in one place for all schedulers (arXiv 2207.12598).

`options` are the keys that recipes have, free of torch for a plugin's `__init__`; `denoiser` applies them.
"""
