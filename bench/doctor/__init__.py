"""What a run would need, looked at before it starts."""
