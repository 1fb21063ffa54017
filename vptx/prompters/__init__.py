"""What is learnt: one file for each idea, named as its paper names it."""

from .adapter import Adapter
from .adaptformer import AdaptFormer
from .added import AddedPrompter
from .base import InsidePrompter, Prompter, TokenPrompter
from .border import BorderPrompter
from .channel import ChannelPrompter
from .conditional_context import ConditionalContextPrompter
from .context import ContextPrompter
from .coordinator import CoordinatorPrompter
from .coupled import CoupledPrompter
from .deep import DeepPrompter
from .embedding import PromptEmbedding
from .image import ImagePrompter
from .lora import LoRA
from .low_rank import LowRankPrompter
from .pad import PadPrompter
from .patch import PatchPrompter
from .pixel import PixelPrompter
from .prepended_pixel import PrependedPixelPrompter
from .reprogram import ReprogramPrompter
from .sample_mask import SampleMaskPrompter
from .scale import ScalePrompter
from .shallow import ShallowPrompter
from .side import SideTuning
from .ssf import SSF
from .stack import StackedPrompter

__all__ = [
    'SSF',
    'AdaptFormer',
    'Adapter',
    'AddedPrompter',
    'BorderPrompter',
    'ChannelPrompter',
    'ConditionalContextPrompter',
    'ContextPrompter',
    'CoordinatorPrompter',
    'CoupledPrompter',
    'DeepPrompter',
    'ImagePrompter',
    'InsidePrompter',
    'LoRA',
    'LowRankPrompter',
    'PadPrompter',
    'PatchPrompter',
    'PixelPrompter',
    'PrependedPixelPrompter',
    'PromptEmbedding',
    'Prompter',
    'ReprogramPrompter',
    'SampleMaskPrompter',
    'ScalePrompter',
    'ShallowPrompter',
    'SideTuning',
    'StackedPrompter',
    'TokenPrompter',
]
