"""What is learnt: one file for each idea, named as its paper names it."""

from .added import AddedPrompter
from .base import Prompter, TokenPrompter
from .deep import DeepPrompter
from .embedding import PromptEmbedding
from .prepended_pixel import PrependedPixelPrompter
from .shallow import ShallowPrompter

__all__ = [
    'AddedPrompter',
    'DeepPrompter',
    'PrependedPixelPrompter',
    'PromptEmbedding',
    'Prompter',
    'ShallowPrompter',
    'TokenPrompter',
]
