"""Every case that the public VPT code computed, outputs and gradients to the prompts, through our own doors.

``tests/data/golden.npz`` was computed in float32 by that code on small random networks, each stored in the format of
its objective or network: Google's for supervision, MAE's, MoCo v3's, the official Swin's.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vptx.backbones import TimmSwin, TimmViT
from vptx.prompted import PromptedNetwork
from vptx.registry import PROMPTERS, build

DATA = Path(__file__).parent / 'data'
CASES = json.loads((DATA / 'cases.json').read_text())
SHALLOW, DEEP = 'prompt_embeddings', 'deep_prompt_embeddings'

# The public code's configuration of each case, in our words: prompter, readout.
OURS = {
    'vit_shallow': (dict(type='ShallowPrompter', num_tokens=3), 'cls'),
    'vit_deep': (dict(type='DeepPrompter', num_tokens=3), 'cls'),
    'vit_add': (dict(type='AddedPrompter'), 'cls'),
    'vit_add_deep': (dict(type='AddedPrompter', deep=True), 'cls'),
    'vit_prepend_pixel': (dict(type='PrependedPixelPrompter', num_tokens=3), 'cls'),
    'vit_deep_first2': (dict(type='DeepPrompter', num_tokens=3, layers=[0, 1]), 'cls'),
    'vit_deep_noexpand': (dict(type='DeepPrompter', num_tokens=3, layers=[0, 1], carry=False), 'cls'),
    'vit_pool_image': (dict(type='DeepPrompter', num_tokens=3), 'mean'),
    'vit_pool_prompt': (dict(type='DeepPrompter', num_tokens=3), 'prompts'),
    'vit_pool_image_prompt': (dict(type='DeepPrompter', num_tokens=3), 'prompts+patches'),
    'vit_project': (dict(type='DeepPrompter', num_tokens=3, project_dim=16), 'cls'),
    'mae_shallow': (dict(type='ShallowPrompter', num_tokens=3), 'prompts+patches'),
    'mae_deep': (dict(type='DeepPrompter', num_tokens=3), 'prompts+patches'),
    'mae_deep_pool_image': (dict(type='DeepPrompter', num_tokens=3), 'mean'),
    'moco_shallow': (dict(type='ShallowPrompter', num_tokens=3), 'cls'),
    'moco_deep': (dict(type='DeepPrompter', num_tokens=3), 'cls'),
    # Computed for one image: that code mixes the shallow prompts of several.
    'swin_shallow': (dict(type='ShallowPrompter', num_tokens=3), 'prompts+patches'),
    'swin_deep': (dict(type='DeepPrompter', num_tokens=3), 'prompts+patches'),
}
# The weights of each objective. The cases of MAE were computed without any last norm.
WEIGHTS = {
    'vit': dict(weights=str(DATA / 'vit_sup.npz')),
    'mae': dict(weights=str(DATA / 'vit_mae.pth'), global_pool='avg', final_norm=False, fresh=['norm']),
    'moco': dict(weights=str(DATA / 'vit_mocov3.pth.tar')),
}


@pytest.fixture(scope='module')
def golden():
    with np.load(DATA / 'golden.npz') as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture
def net(case):
    dims = CASES['dims']
    if case.startswith('swin'):
        dims = dims['swin']
        return TimmSwin(
            'swin_base_patch4_window7_224',
            weights=str(DATA / 'swin.pth'),
            img_size=dims['image'],
            embed_dim=dims['embed_dim'],
            depths=dims['depths'],
            num_heads=dims['heads'],
            window_size=dims['window'],
            mlp_ratio=dims['mlp_ratio'],
        )
    return TimmViT(
        'vit_base_patch16_224',
        **WEIGHTS[case.partition('_')[0]],
        img_size=dims['image'],
        embed_dim=dims['embed_dim'],
        depth=dims['layers'],
        num_heads=dims['heads'],
        mlp_ratio=dims['mlp_dim'] / dims['embed_dim'],
    )


def parameters(prompter: torch.nn.Module, arrays: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of our parameter and the public code's array of the same numbers."""
    if hasattr(prompter, 'strip'):
        return [(prompter.strip, arrays[SHALLOW][0])]
    stages = [arrays[name] for name in sorted(arrays) if name.startswith(DEEP)]  # of a Swin one each, else one
    rows = [arrays[SHALLOW][0], *(row for stage in stages for row in stage)]
    pairs = list(zip(prompter.embedding.rows, rows, strict=True))
    if 'prompt_proj.weight' in arrays:
        project = prompter.embedding.project
        pairs += [(getattr(project, part), arrays[f'prompt_proj.{part}']) for part in ('weight', 'bias')]
    return pairs


def test_every_case_is_here():
    assert set(OURS) == {name for name in CASES['cases'] if name.partition('_')[0] in (*WEIGHTS, 'swin')}


@pytest.mark.parametrize('case', OURS)
def test_golden(case, golden, net):
    config, readout = OURS[case]
    of_case = {name.removeprefix(f'{case}/'): value for name, value in golden.items() if name.startswith(f'{case}/')}
    prompts, grads = (
        {
            name.removeprefix(f'{kind}/').removeprefix('transformer.'): value
            for name, value in of_case.items()
            if name.startswith(f'{kind}/')
        }
        for kind in ('prompt', 'grad')
    )
    prompted = PromptedNetwork(net, readout=net.readout).eval()
    prompted.set_prompter(build(PROMPTERS, config), readout)
    for ours, theirs in parameters(prompted.prompter, prompts):
        ours.data.copy_(theirs)
    finished = []
    prompted.net.finish = lambda tokens, finish=prompted.net.finish: finished.append(finish(tokens)) or finished[0]
    output = prompted(of_case['input'])
    if case.startswith('swin'):  # stored are the normed tokens, prompts first
        output = finished[0]
    torch.testing.assert_close(output, of_case['output'], rtol=1e-5, atol=1e-5)
    (output * of_case['probe']).sum().backward()
    for ours, theirs in parameters(prompted.prompter, grads):
        torch.testing.assert_close(ours.grad, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())
