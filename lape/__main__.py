"""`python -m lape`, the same as the `lape` command."""

import sys

from lape.cli import main

sys.exit(main())
