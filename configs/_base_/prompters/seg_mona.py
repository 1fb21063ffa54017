"""Mona under decode heads, and new norms of the maps."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='Mona', dropout=0.1),
        tune=['decode_head', 'auxiliary_head', 'map_norms'],
    )
]
