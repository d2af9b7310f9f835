"""Evaluate, judge, summarise; where shards run."""
