"""What is learnt: one file for each idea, named as its paper names it."""

from .adapter import Adapter
from .adapter_plus import AdapterPlus
from .adaptformer import AdaptFormer
from .adaptive import AdaptivePrompter
from .added import AddedPrompter
from .base import InsidePrompter, Prompter, TokenPrompter
from .border import BorderPrompter
from .channel import ChannelPrompter
from .coda_prompt import CODAPrompt
from .conditional_context import ConditionalContextPrompter
from .context import ContextPrompter
from .convpass import Convpass
from .coordinator import CoordinatorPrompter
from .coupled import CoupledPrompter
from .cross import CrossPrompter
from .deep import DeepPrompter
from .dual_prompt import DualPrompt
from .embedding import PromptEmbedding
from .explicit import ExplicitPrompter
from .fact import FacT
from .fourier import FourierPrompter
from .gated import GatedPrompter
from .image import ImagePrompter
from .l2p import L2P
from .lora import LoRA
from .low_rank import LowRankPrompter
from .mona import Mona
from .pad import PadPrompter
from .patch import PatchPrompter
from .pixel import PixelPrompter
from .prefix import PrefixPrompter
from .prepended_pixel import PrependedPixelPrompter
from .query import QueryPrompter
from .rein import Rein
from .rep_adapter import RepAdapter
from .reprogram import ReprogramPrompter
from .sample_mask import SampleMaskPrompter
from .scale import ScalePrompter
from .shallow import ShallowPrompter
from .side import SideTuning
from .ssf import SSF
from .stack import StackedPrompter

__all__ = [
    'L2P',
    'SSF',
    'AdaptFormer',
    'Adapter',
    'AdapterPlus',
    'AdaptivePrompter',
    'AddedPrompter',
    'BorderPrompter',
    'CODAPrompt',
    'ChannelPrompter',
    'ConditionalContextPrompter',
    'ContextPrompter',
    'Convpass',
    'CoordinatorPrompter',
    'CoupledPrompter',
    'CrossPrompter',
    'DeepPrompter',
    'DualPrompt',
    'ExplicitPrompter',
    'FacT',
    'FourierPrompter',
    'GatedPrompter',
    'ImagePrompter',
    'InsidePrompter',
    'LoRA',
    'LowRankPrompter',
    'Mona',
    'PadPrompter',
    'PatchPrompter',
    'PixelPrompter',
    'PrefixPrompter',
    'PrependedPixelPrompter',
    'PromptEmbedding',
    'Prompter',
    'QueryPrompter',
    'Rein',
    'RepAdapter',
    'ReprogramPrompter',
    'SampleMaskPrompter',
    'ScalePrompter',
    'ShallowPrompter',
    'SideTuning',
    'StackedPrompter',
    'TokenPrompter',
]
