"""No prompt: the head, the last of twelve layers and the final norm."""

custom_hooks = [dict(type='PromptTuningHook', tune=['head', 'blocks.11', 'norm'])]
