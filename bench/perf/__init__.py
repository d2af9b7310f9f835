"""How fast attacks are, side by side in one run on the same model and images."""
