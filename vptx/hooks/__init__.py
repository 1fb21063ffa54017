"""When things happen: plug, slim, guard."""

from .guard_hook import GuardHook
from .prompt_tuning_hook import PromptTuningHook
from .slim_checkpoint_hook import SafeCheckpointHook, SlimCheckpointHook

__all__ = ['GuardHook', 'PromptTuningHook', 'SafeCheckpointHook', 'SlimCheckpointHook']
