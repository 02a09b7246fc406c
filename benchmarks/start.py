"""Seconds from the start of a fresh process to its end: the import, the tree, and the next tokens of a real model."""

from __future__ import annotations

import sys
from pathlib import Path

from frame import Run

STEMMA = str(Path(sys.executable).with_name("stemma"))

with Run("start", rounds=5) as bench:
    bench.clock(
        {
            "import stemma": ([sys.executable, "-c", "import stemma"], 0.3),
            "stemma tree": ([STEMMA, "tree"], 0.5),
            "stemma next": ([STEMMA, "next", "In this example we are going to"], None),
        }
    )
