"""Speed of attacks, compared in one run on the same model and images."""
