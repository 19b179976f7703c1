"""What autoencoders of images and videos share: posteriors, the frame-wise image autoencoder, groups, tiles, loading.

A library, not a plugin: it offers no component. Nothing is imported here, so that options can be read without torch.
"""
