"""Methods since VPT on Mini-VTAB, each at the best of three rates, selected on validation, tested with five seeds.

One command, which goes on where it was stopped; with baselines, and on two pre-trained networks:

python tools/experiment.py configs/mini_vtab/{linear,methods,bias,full}.py --tasks all \
    --nets vit_mini_sup vit_mini_mae --out work_dirs/methods --features work_dirs/features
python tools/report.py work_dirs/methods

Final runs are tested after epochs 3, 4, 5 and 6: the last of them counts, and the report says how much the best of
them would give. The order of the runs is that of networks, configs and variants, so that a part of them is a table of
whole methods.

Cost: 21 methods and three baselines, 10 tasks, 2 networks, 3 rates and 5 seeds are 3,840 runs of 6 epochs.
"""

_base_ = ['./vpt_deep.py']

prompter = 'custom_hooks.0.prompter'
variants = dict(
    vpt_deep={prompter: dict(_delete_=True, type='DeepPrompter', num_tokens=10)},
    lora={prompter: dict(_delete_=True, type='LoRA')},
    adapter_plus={prompter: dict(_delete_=True, type='AdapterPlus')},
    fourier={prompter: dict(_delete_=True, type='FourierPrompter', num_tokens=10)},
    vpt_shallow={prompter: dict(_delete_=True, type='ShallowPrompter', num_tokens=10)},
    e2vpt={
        'custom_hooks.0': dict(
            prompter=[
                dict(type='PrefixPrompter', num_tokens=5, shared=True),
                dict(type='DeepPrompter', num_tokens=10, segments=16),
            ]
        )
    },
    ssf={prompter: dict(_delete_=True, type='SSF')},
    prefix={prompter: dict(_delete_=True, type='PrefixPrompter', num_tokens=10)},
    adaptive={prompter: dict(_delete_=True, type='AdaptivePrompter', num_tokens=10)},
    cross={prompter: dict(_delete_=True, type='CrossPrompter', num_tokens=10)},
    gated={prompter: dict(_delete_=True, type='GatedPrompter', num_tokens=10)},
    bilinear={
        prompter: dict(type='DeepPrompter', project_dim=8, project_per='layer', project_bias=False, init='normal')
    },
    rep_adapter={prompter: dict(_delete_=True, type='RepAdapter')},
    fact={prompter: dict(_delete_=True, type='FacT', rank=8)},
    convpass={prompter: dict(_delete_=True, type='Convpass')},
    mona={prompter: dict(_delete_=True, type='Mona', hidden=16)},
    rein={prompter: dict(_delete_=True, type='Rein', num_tokens=20, rank=8)},
    explicit={prompter: dict(_delete_=True, type='ExplicitPrompter')},
    l2p={'custom_hooks.0': dict(prompter=dict(_delete_=True, type='L2P'), readout='prompts')},
    dual_prompt={prompter: dict(_delete_=True, type='DualPrompt', tasks=1)},
    coda_prompt={prompter: dict(_delete_=True, type='CODAPrompt', components=20, tasks=1)},
)
final = dict(curve=3)
