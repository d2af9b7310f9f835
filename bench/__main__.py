"""`python -m bench`, also for `accelerate launch -m bench train`."""

from bench.cli.entry import console

console()
