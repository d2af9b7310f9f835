"""The leaderboard: standings as a pure function of runs."""

from bench.report.board.make import make_board

__all__ = ["make_board"]
