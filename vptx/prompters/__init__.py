"""What is learnt: one file for each idea, named as its paper names it."""

from .adapter import Adapter
from .adaptformer import AdaptFormer
from .added import AddedPrompter
from .base import Prompter, TokenPrompter
from .channel import ChannelPrompter
from .deep import DeepPrompter
from .embedding import PromptEmbedding
from .lora import LoRA
from .pad import PadPrompter
from .prepended_pixel import PrependedPixelPrompter
from .shallow import ShallowPrompter
from .side import SideTuning
from .ssf import SSF

__all__ = [
    'SSF',
    'AdaptFormer',
    'Adapter',
    'AddedPrompter',
    'ChannelPrompter',
    'DeepPrompter',
    'LoRA',
    'PadPrompter',
    'PrependedPixelPrompter',
    'PromptEmbedding',
    'Prompter',
    'ShallowPrompter',
    'SideTuning',
    'TokenPrompter',
]
