"""A network with other weights is told from one whose weights are held otherwise."""

from itertools import permutations

import pytest
import timm
import torch
from networks import images, tiny
from timm.models import checkpoint_filter_fn  # noqa: F401
from torch import nn

import vptx
from vptx.fingerprint import fingerprints

DEEP = dict(type='DeepPrompter', num_tokens=3)
