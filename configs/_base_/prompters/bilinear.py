"""BPT-bilinear, deep: of each layer a product of two matrices; P and the inner width as published."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(
            type='DeepPrompter', num_tokens=50, project_dim=50, project_per='layer', project_bias=False, init='normal'
        ),
        tune=['head'],
    )
]
