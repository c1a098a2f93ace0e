"""``python -m skdeepclust`` is the command ``skdeepclust``."""

import sys

from skdeepclust.cli import main

if __name__ == "__main__":
    sys.exit(main())
