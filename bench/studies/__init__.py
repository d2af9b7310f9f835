"""Several evaluations with one question: ladders, keys, suites, comparisons, audits, key studies."""
