"""Channel prompts: learnt channels behind the image's, and the stem that sees them."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='ChannelPrompter', num_channels=3), tune=['head'])]
