"""Studies of several evaluations: ladders, keys, suites, comparisons, audits, key studies."""
