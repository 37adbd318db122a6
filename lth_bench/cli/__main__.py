"""`python -m lth_bench.cli`, which is `lth-bench`."""

from lth_bench.cli.main import main

main()
