"""Who stands where: standings from runs, and from nothing else."""
