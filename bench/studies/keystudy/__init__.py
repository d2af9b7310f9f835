"""The key study of one defense: gradients, transfer, substitutes, key distance, key estimation."""

from bench.studies.keystudy.study import Ask, study

__all__ = ["Ask", "study"]
