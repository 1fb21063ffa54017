"""Every test file can import what lies beside this one: ``networks``, ``runs``."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # the networks are tiny, and two tests may run side by side
