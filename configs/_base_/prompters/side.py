"""Side-tuning: AlexNet beside the network, its features blended with the network's own."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='SideTuning', weights='imagenet'), tune=['head'])]
