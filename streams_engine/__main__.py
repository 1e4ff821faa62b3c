"""``python -m streams_engine`` is the command ``streams-engine``."""

import sys

from streams_engine.cli import main

sys.exit(main())
