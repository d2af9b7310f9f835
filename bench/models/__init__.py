"""Backbones as models of images in [0, 1], folding a key into the weights, weight files."""
