"""Backbones as models of images in [0, 1], the fold of a key into the weights, weight files."""
