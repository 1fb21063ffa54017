"""Cross prompts: attention to prompts alone, between attention and MLP."""

import pytest
import torch
import torch.nn.functional as F
from exact import exact, frozen, pictures, same
from networks import DEPTH, HEADS, WIDTH

import vptx


def block(model: torch.nn.Module, x: torch.Tensor, layer: int, prompts: torch.Tensor) -> torch.Tensor:
    """The equation, of a ViT of timm."""
    own = model.net.model.blocks[layer]
    x = x + own.attn(own.norm1(x))
    rows = torch.cat([x, prompts.expand(len(x), -1, -1)], dim=1)
    query, key, value = own.attn.qkv(rows).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    gathered = F.scaled_dot_product_attention(*(query[:, :, :-3], key[:, :, -3:], value[:, :, -3:]))
    x = x + own.attn.proj(gathered.transpose(1, 2).flatten(2))
    return x + own.mlp(own.norm2(x))


def test_the_equation():
    model = exact('CrossPrompter', std=0.5)
    tokens, _ = model.net.embed(pictures())
    for layer in range(DEPTH):
        tokens = block(model, tokens, layer, model.prompter.embedding.rows[layer])
    assert same(model(pictures()), model.net.model.forward_head(model.net.model.norm(tokens)))


@pytest.mark.parametrize('network', ['plain', 'query-key norm', 'swin', 'DINOv3', 'registers', 'torchvision'])
def test_equal_prompts_add_a_constant_whatever_the_image(network):
    """That of P = 0 is W_o b_v + b_o."""
    model = exact('CrossPrompter', network)
    with torch.no_grad():
        for row in model.prompter.embedding.rows:
            row.copy_(row[:1].expand_as(row))
    tokens, context = model.net.embed(pictures())
    prompts = model.prompter.embedding.rows[0]
    added = model.net.recall(tokens, prompts, 0, context)
    assert same(added, added[:1, :1].expand_as(added))
    other = model.net.recall(torch.randn_like(tokens), prompts, 0, context)
    assert same(other, added)


def test_zero_prompts_add_the_biases():
    model = exact('CrossPrompter')
    tokens, context = model.net.embed(pictures())
    attn = model.net.model.blocks[0].attn
    added = model.net.recall(tokens, torch.zeros(3, WIDTH, dtype=torch.float64), 0, context)
    assert same(added[1, 2], attn.proj(attn.qkv.bias[2 * WIDTH :]))


def test_in_a_layer_that_has_to_be_called_there_is_no_middle():
    model = vptx.attach(frozen(), [dict(type='CrossPrompter'), dict(type='LoRA')])
    with pytest.raises(ValueError, match='takes no prompter between attention and MLP'):
        model(pictures())
