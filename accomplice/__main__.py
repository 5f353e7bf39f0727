"""Entry point of ``python -m accomplice``: the command line."""

import sys

from accomplice.training.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
