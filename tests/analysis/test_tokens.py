"""Class tokens and their attention, of tiny prompted networks by either door."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from runs import hook, tiny_config

import vptx
from vptx.analysis.tokens import attention_shares, batches_of, draw_shares, draw_tsne, features


@pytest.mark.parametrize('prompter', ['DeepPrompter', 'ShallowPrompter'])  # by memory, and as tokens
def test_attention_of_prompts_that_are_like_any_token(prompter, tmp_path):
    config = Config(tiny_config(tmp_path, hooks=[hook(dict(type=prompter, num_tokens=3))]))
    model = vptx.init_model(config)
    net = model.backbone.net.model
    with torch.no_grad():
        for block in net.blocks:  # every query finds every key alike
            block.attn.qkv.weight[:32] = block.attn.qkv.bias[:32] = 0
    shares = attention_shares(model, batches_of(config, 1))
    # One class token, three prompts, four patches.
    np.testing.assert_allclose(shares, [[1 / 8, 3 / 8, 4 / 8]] * 2, atol=1e-6)
    _, two = draw_shares({'one': shares, 'two': shares}).axes
    assert [round(bar.get_width(), 1) for bar in two.patches] == [12.5] * 2 + [37.5] * 2 + [50.0] * 2


def test_attention_is_that_of_the_network(tmp_path):
    """By either door deep prompts are the same; so is what is paid to them."""
    shares = []
    for readout in ('cls', 'prompts'):  # prompts that are read go in as tokens
        torch.manual_seed(0)
        config = Config(tiny_config(tmp_path, hooks=[hook(dict(type='DeepPrompter', num_tokens=3), readout=readout)]))
        model = vptx.init_model(config)
        with torch.no_grad():
            for parameter in model.backbone.prompter.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(1))
            for parameter in model.backbone.net.parameters():
                parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
        shares.append(attention_shares(model, batches_of(config, 2)))
    np.testing.assert_allclose(*shares, atol=1e-5)
    np.testing.assert_allclose(shares[0].sum(1), 1, atol=1e-6)
    assert shares[0].std(0).min() > 1e-4


def test_features_and_their_picture(tmp_path):
    config = Config(tiny_config(tmp_path))
    model = vptx.init_model(config)
    values, labels = features(model, batches_of(config, 2))
    again, _ = features(model, batches_of(config, 2))
    np.testing.assert_array_equal(values, again)
    assert values.shape == (12, 32) and sorted(labels) == [0] * 4 + [1] * 4 + [2] * 4
    figure = draw_tsne({'one': values}, labels, ('bright', 'dark', 'striped'))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['bright', 'dark', 'striped']
    assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections) == 12


def test_what_cannot_be_shown(tmp_path):
    config = Config(tiny_config(tmp_path))
    with pytest.raises(ValueError, match='networks with a class token'):
        attention_shares(torch.nn.Linear(1, 1), [])
    config.test_dataloader = None
    with pytest.raises(ValueError, match='no test_dataloader'):
        batches_of(config, 1)
