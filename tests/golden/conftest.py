"""Lets the runners import `weight_rule` and `comparing`, which lie beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
