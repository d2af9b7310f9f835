"""Who stands where: standings from runs, and from nothing else."""

from bench.report.board.make import make_board

__all__ = ["make_board"]
