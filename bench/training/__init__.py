"""The training loop, and the trainable parameters of each kind of fine-tuning."""
