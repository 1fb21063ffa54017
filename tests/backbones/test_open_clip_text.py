"""Text towers of open_clip: whatever they are built from, the same features; and those that are refused."""

import gzip
from pathlib import Path

import pytest
import torch
from clips import DEPTH, EMBED, HEADS, NAMES, WIDTH, custom_clip, reference, tiny_clip
from open_clip.model import CLIP
from open_clip.tokenizer import default_bpe
from safetensors.torch import save_file

from vptx.backbones import OpenCLIPText
from vptx.registry import TEXT_TOWERS
from vptx.text import PromptedText
from vptx.weights.text import text_tensors

SIZES = dict(width=WIDTH, layers=DEPTH, heads=HEADS, embed=EMBED)


def features(tower) -> torch.Tensor:
    text = PromptedText(tower, NAMES, whole=True)
    text.start()
    return text()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'clip.safetensors'
    save_file({name: tensor.contiguous() for name, tensor in tiny_clip().state_dict().items()}, path)
    return path


def test_built_models_are_used_as_they_are():
    custom = custom_clip()
    custom.text.load_state_dict(text_tensors({k: v for k, v in tiny_clip().state_dict().items() if 'scale' not in k}))
    assert torch.equal(features(OpenCLIPText(tiny_clip())), reference())
    assert torch.equal(features(OpenCLIPText(custom)), reference())
    assert torch.equal(features(OpenCLIPText(custom.text)), reference())
    net = OpenCLIPText(tiny_clip())
    assert torch.equal(net.logit_scale, tiny_clip().logit_scale.detach())
    assert not any('visual' in name for name, _ in net.frozen_tensors())


def test_a_file_of_any_layout_fills_it(file, tmp_path):
    assert torch.equal(features(dict(SIZES, pretrained=str(file))), reference())
    state = tiny_clip().state_dict()
    text = {f'text.{k}' if not k.startswith(('visual', 'logit')) else k: v for k, v in state.items()}
    for number, layout in enumerate((text, {f'module.{k}': v for k, v in state.items()}, dict(state_dict=state))):
        path = tmp_path / f'{number}.pt'
        torch.save(layout, path)
        assert torch.equal(features(dict(SIZES, pretrained=str(path))), reference())


def test_files_that_do_not_fit(file, tmp_path):
    for sizes, message in [
        (dict(SIZES, layers=2), 'has transformer.resblocks.2.* for which there is no place'),
        (dict(SIZES, layers=4), 'lacks transformer.resblocks.3'),
        (dict(SIZES, embed=8), r'has text_projection of shape \(32, 24\) instead of \(32, 8\)'),
    ]:
        with pytest.raises(ValueError, match=message):
            OpenCLIPText(**sizes, pretrained=file)
    image = tmp_path / 'image.safetensors'
    save_file({'blocks.0.weight': torch.zeros(2)}, image)
    with pytest.raises(ValueError, match='holds no text tower'):
        OpenCLIPText(**SIZES, pretrained=image)
    with pytest.raises(FileNotFoundError, match='there is no weight file'):
        OpenCLIPText(**SIZES, pretrained=tmp_path / 'none.safetensors')
    bad = tiny_clip().state_dict()
    bad['ln_final.weight'][0] = torch.nan
    save_file({name: tensor.contiguous() for name, tensor in bad.items()}, file)
    with pytest.raises(ValueError, match=r'values of ln_final.weight that are NaN'):
        OpenCLIPText(**SIZES, pretrained=file)


def test_a_smaller_vocabulary(tmp_path):
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split('\n')[:301]
    path = tmp_path / 'bpe.txt.gz'
    path.write_bytes(gzip.compress('\n'.join(lines).encode()))
    net = OpenCLIPText(**SIZES, vocab=512 + 300 + 2, bpe_path=path)
    assert net.encode('cat')[0] == 812 and net.encode('cat')[-1] == 813
    assert features(net).shape == (len(NAMES), EMBED)
    assert net.vocabulary != OpenCLIPText(tiny_clip()).vocabulary
    with pytest.raises(ValueError, match='the tokenizer is not that of text: it has 814 tokens, the tower 49408'):
        OpenCLIPText(**SIZES, bpe_path=path)
    with pytest.raises(FileNotFoundError, match='there is no file of byte pairs'):
        OpenCLIPText(**SIZES, bpe_path=tmp_path / 'none.gz')
    other = tmp_path / 'other.gz'
    other.write_bytes(b'text')
    with pytest.raises(ValueError, match='is no gzipped file of byte pairs'):
        OpenCLIPText(**SIZES, vocab=100, bpe_path=other)


def test_towers_that_are_refused():
    with pytest.raises(ValueError, match='the text side of ViT-B-16-SigLIP needs timm/ViT-B-16-SigLIP of transformers'):
        OpenCLIPText('ViT-B-16-SigLIP')
    sizes = dict(width=WIDTH, heads=HEADS, layers=1, vocab_size=49408)
    vision = dict(image_size=32, layers=1, width=32, patch_size=8, head_width=8)
    for options, message in [
        (dict(no_causal_mask=True), 'its attention is not causal'),
        (dict(pool_type='last'), "it reads the row 'last', not that of EOT"),
        (dict(proj_bias=True), 'its last projection has a bias'),
    ]:
        with pytest.raises(ValueError, match=message):
            OpenCLIPText(CLIP(EMBED, vision, {**sizes, **options}))
    with pytest.raises(ValueError, match=r"open_clip has no model 'ViT'\. It has: .*ViT-B-16"):
        OpenCLIPText('ViT')
    with pytest.raises(
        ValueError, match=r"trained with QuickGELU, which this model does not have: .*'ViT-B-16-quickgelu'"
    ):
        OpenCLIPText('ViT-B-16', pretrained='openai')
    with pytest.raises(ValueError, match="pretrained='none' is neither a file nor a tag of ViT-B-16"):
        OpenCLIPText('ViT-B-16', pretrained='none')


def test_every_registered_tower_makes_features():
    TEXT_TOWERS.import_from_location()
    for kind in TEXT_TOWERS.module_dict.values():
        assert features(kind(**kind.example)).shape == (len(NAMES), kind.example['embed'])


def test_a_hook_of_other_code_is_called():
    """Then nothing is shared, and what it changes counts."""
    net, seen = OpenCLIPText(tiny_clip()), []
    net.model.transformer.resblocks[1].attn.register_forward_hook(lambda *arguments: seen.append(1))
    text = PromptedText(net, NAMES)
    text.start()
    assert torch.allclose(text(), reference(), atol=1e-6) and seen
    lora = PromptedText(net, NAMES, prompter=dict(type='LoRA'))
    lora.start()
    with pytest.raises(ValueError, match='has a hook or is not as its library made it'):
        lora()
