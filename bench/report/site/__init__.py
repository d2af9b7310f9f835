"""The leaderboard's static site: a pure function of a board, for local files and any static host."""

from bench.report.site.build import build_site

__all__ = ["build_site"]
