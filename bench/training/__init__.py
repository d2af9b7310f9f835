"""The one training loop and what the kinds of fine-tuning leave trainable."""
