"""When things happen: plug, slim, guard."""

from .guard_hook import GuardHook
from .prompt_init_hook import PromptInitHook
from .prompt_tuning_hook import PromptTuningHook
from .slim_checkpoint_hook import SafeCheckpointHook, SlimCheckpointHook

__all__ = ['GuardHook', 'PromptInitHook', 'PromptTuningHook', 'SafeCheckpointHook', 'SlimCheckpointHook']
