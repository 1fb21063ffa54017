"""E^2VPT: shared keys and values, and deep prompts with the factors that it prunes by; most tasks have 5 and 10."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=[
            dict(type='PrefixPrompter', num_tokens=5, shared=True),
            dict(type='DeepPrompter', num_tokens=10, dropout=0.1, segments=16),
        ],
        tune=['head'],
    )
]
