"""Statistics of robustness, and checks that distinguish a robust model from a broken evaluation."""
