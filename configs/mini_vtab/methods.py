"""Methods since VPT on Mini-VTAB, each at the best of three rates, selected on validation, tested with five seeds.

One command, which goes on where it was stopped; with baselines, and on two pre-trained networks:

python tools/experiment.py configs/mini_vtab/{methods,linear,bias,full}.py --tasks all \
    --nets vit_mini_sup vit_mini_mae --out work_dirs/methods
python tools/report.py work_dirs/methods

Cost: 17 methods and three baselines, 10 tasks, 2 networks, 3 rates and 5 seeds are 3,200 runs of 6 epochs.
"""

_base_ = ['./vpt_deep.py']

prompter = 'custom_hooks.0.prompter'
variants = dict(
    vpt_shallow={prompter: dict(_delete_=True, type='ShallowPrompter', num_tokens=10)},
    vpt_deep={prompter: dict(_delete_=True, type='DeepPrompter', num_tokens=10)},
    lora={prompter: dict(_delete_=True, type='LoRA')},
    ssf={prompter: dict(_delete_=True, type='SSF')},
    adapter_plus={prompter: dict(_delete_=True, type='AdapterPlus')},
    prefix={prompter: dict(_delete_=True, type='PrefixPrompter', num_tokens=10)},
    e2vpt={
        'custom_hooks.0': dict(
            prompter=[
                dict(type='PrefixPrompter', num_tokens=5, shared=True),
                dict(type='DeepPrompter', num_tokens=10, segments=16),
            ]
        )
    },
    gated={prompter: dict(_delete_=True, type='GatedPrompter', num_tokens=10)},
    fourier={prompter: dict(_delete_=True, type='FourierPrompter', num_tokens=10)},
    bilinear={
        prompter: dict(type='DeepPrompter', project_dim=8, project_per='layer', project_bias=False, init='normal')
    },
    cross={prompter: dict(_delete_=True, type='CrossPrompter', num_tokens=10)},
    adaptive={prompter: dict(_delete_=True, type='AdaptivePrompter', num_tokens=10)},
    rep_adapter={prompter: dict(_delete_=True, type='RepAdapter')},
    fact={prompter: dict(_delete_=True, type='FacT', rank=8)},
    rein={prompter: dict(_delete_=True, type='Rein', num_tokens=20, rank=8)},
    mona={prompter: dict(_delete_=True, type='Mona', hidden=16)},
    convpass={prompter: dict(_delete_=True, type='Convpass')},
)
final = dict(seeds=[42, 43, 44, 45, 46])
