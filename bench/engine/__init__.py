"""One evaluation: a Spec becomes a world, shards pass through attack and judge, verdicts become a record."""
