"""LoRA and adapters in the layers of either tower of a CLIP, and of both."""

import pytest
import timm
import torch
from clips import prompted
from networks import images
from torch.nn.functional import cross_entropy

import vptx
from vptx.backbones import OpenCLIPText, wrap_backbone
from vptx.prompters import LoRA

KINDS = {
    'CLIP-LoRA': dict(type='LoRA', rank=2, targets=['q', 'k', 'v']),
    'Adapter': dict(type='Adapter'),
    'AdaptFormer': dict(type='AdaptFormer', hidden=4),
    'SSF': dict(type='SSF'),
}


def test_numbers_of_clip_lora():
    """Rank 2 on queries, keys and values of all layers of both towers of ViT-B/16; the towers themselves are empty."""
    with torch.device('meta'):
        image = wrap_backbone(timm.create_model('vit_base_patch16_clip_quickgelu_224', num_classes=512))
        text = OpenCLIPText('ViT-B-16-quickgelu')
    found = []
    for net in (image, text):
        lora = LoRA(rank=2, targets=['q', 'k', 'v'])
        lora.bind(net.geometry)
        found.append(sum(parameter.numel() for parameter in lora.parameters()))
    assert found == [110_592, 73_728] and sum(found) == 184_320


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('sides', ['image', 'text', 'both'])
def test_it_begins_as_the_model_and_learns_on_each_side(kind, sides, tmp_path):
    config, image = KINDS[kind], images(3)

    def make(seed):
        return prompted(config if sides != 'image' else None, config if sides != 'text' else None, seed=seed)

    model, plain = make(0), prompted()(image)
    if kind != 'SSF':  # which begins near the model
        torch.testing.assert_close(model(image), plain, rtol=1e-4, atol=1e-4)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(image), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in trained)
    model.eval()
    assert (model(image) - plain).abs().max() > 1e-3
    names = {name.partition('.')[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == dict(image={'prompter'}, text={'mapping'}, both={'prompter', 'mapping'})[sides]
    vptx.save_prompt(model, tmp_path / 'p.safetensors')
    other = make(1)
    vptx.load_prompt(other, tmp_path / 'p.safetensors')
    assert torch.equal(other(image), model(image))
