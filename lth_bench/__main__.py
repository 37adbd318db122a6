"""`python -m lth_bench`, which is `lth-bench`."""

from lth_bench.cli import main

main()
