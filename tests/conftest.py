"""Every test file can import what lies beside this one: ``networks``, ``runs``."""

import sys
from pathlib import Path

import torch
import yapf.yapflib.yapf_api  # noqa: F401  writes a cache when first imported: once, before workers do it side by side

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # the networks are tiny, and two tests may run side by side
