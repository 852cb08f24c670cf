"""``python -m genomic_ulmfit.cli``."""

import sys

from genomic_ulmfit.cli import main

sys.exit(main())
