"""Statistics of robustness and what tells a robust model from a broken evaluation."""
