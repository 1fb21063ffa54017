"""Side-tuning: AlexNet next to the network, its features blended with the network's."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='SideTuning', weights='imagenet'), tune=['head'])]
