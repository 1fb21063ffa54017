"""What is learnt: one file for each idea, named as its paper names it."""

from .added import AddedPrompter
from .base import Prompter, TokenPrompter
from .channel import ChannelPrompter
from .deep import DeepPrompter
from .embedding import PromptEmbedding
from .pad import PadPrompter
from .prepended_pixel import PrependedPixelPrompter
from .shallow import ShallowPrompter

__all__ = [
    'AddedPrompter',
    'ChannelPrompter',
    'DeepPrompter',
    'PadPrompter',
    'PrependedPixelPrompter',
    'PromptEmbedding',
    'Prompter',
    'ShallowPrompter',
    'TokenPrompter',
]
