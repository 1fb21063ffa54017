"""Ablation on Mini-VTAB: prompts before the tokens, added to them, or in the image (figure 5).

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/location.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_shallow.py']

prompter = 'custom_hooks.0.prompter'
variants = dict(
    tokens={prompter: dict(_delete_=True, type='ShallowPrompter', num_tokens=10)},
    added={prompter: dict(_delete_=True, type='AddedPrompter')},
    pixels={prompter: dict(_delete_=True, type='PrependedPixelPrompter', num_tokens=10)},
    channels={prompter: dict(_delete_=True, type='ChannelPrompter')},
)
