"""Ablation on Mini-VTAB: initial prompts of VPT-deep: noise, or tokens of the images (PromptInitHook).

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/init.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

prompts = dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head'])
variants = dict(
    uniform={'custom_hooks.0.prompter.init': 'uniform'},
    normal={'custom_hooks.0.prompter.init': 'normal'},
    sample={'custom_hooks': [prompts, dict(type='PromptInitHook', pool='sample')]},
    mean={'custom_hooks': [prompts, dict(type='PromptInitHook', pool='mean')]},
    vipamin={'custom_hooks': [prompts, dict(type='PromptInitHook', pool='vipamin')]},
)
