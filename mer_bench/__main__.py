"""`python -m mer_bench`."""

import sys

from mer_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
