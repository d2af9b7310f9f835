"""One evaluation: a Spec to a world, shards through attack and judge, verdicts to a record."""
