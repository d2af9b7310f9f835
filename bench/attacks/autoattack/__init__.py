"""Per-image AutoAttack in a batch that is kept full: the scheduler, the attacks and the model calls."""
