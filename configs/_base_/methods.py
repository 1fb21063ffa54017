"""VPT and the methods since, as variants of a config whose first hook tunes prompts: ten prompts, or one size for each.

Their papers choose sizes for each task; here a method has the same size on all tasks.
"""

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
