"""AutoAttack image by image in a batch that is always full: the scheduler, the attacks and the model calls."""
