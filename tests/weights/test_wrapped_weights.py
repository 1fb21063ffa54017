"""Weights of a network that was inside another module, or fine-tuned here, as the start of one."""

import pytest
import torch
from runs import hook, net, runner
from small_models import drawn, images, vit

import vptx
from vptx.weights import load_weights


def lightning(tensors: dict, prefix: str) -> dict:
    """As Lightning writes it."""
    state = {prefix + name: value for name, value in tensors.items()}
    return dict(state_dict=state, epoch=3, global_step=9, callbacks={}, hyper_parameters=dict(lr=0.1))


@pytest.mark.parametrize('prefix', ['model.', 'net.', 'encoder.', 'model.vit.', 'model._orig_mod.', 'module.model.'])
def test_a_prefix_that_all_tensors_have(prefix, tmp_path):
    theirs, ours = drawn(vit(num_classes=5)), vit(num_classes=5)
    torch.save(lightning(theirs.state_dict(), prefix), tmp_path / 'last.ckpt')
    report = load_weights(ours, tmp_path / 'last.ckpt')
    assert torch.equal(ours.eval()(images()), theirs(images())) and not report.dropped


def test_a_prefix_that_not_all_have_is_refused(tmp_path):
    state = {'model.' + name: value for name, value in vit().state_dict().items()}
    torch.save({**state, 'other.weight': torch.ones(1)}, tmp_path / 'last.ckpt')
    with pytest.raises(ValueError, match=r'is of none of the layouts .* Found: model\.cls_token'):
        load_weights(vit(), tmp_path / 'last.ckpt')


def test_what_is_inside_the_prefix_is_checked_as_ever(tmp_path):
    torch.save(lightning(vit(depth=4).state_dict(), 'model.'), tmp_path / 'last.ckpt')
    with pytest.raises(ValueError, match=r'does not fit .* no place for blocks\.3'):
        load_weights(vit(), tmp_path / 'last.ckpt')


@pytest.mark.parametrize('prompter', [None, dict(type='DeepPrompter', num_tokens=3)])
def test_a_prompt_file_of_a_whole_network(prompter, tmp_path):
    theirs = vptx.attach(drawn(vit(num_classes=5)), prompter, tune=['.*'])
    vptx.save_prompt(theirs, tmp_path / 'full.safetensors')
    ours = vit(num_classes=5)
    report = load_weights(ours, tmp_path / 'full.safetensors')
    assert torch.equal(ours.eval()(images()), vptx.detach(theirs).eval()(images()))
    assert all(name.startswith('prompter.') for name in report.dropped)


def test_a_prompt_file_of_a_part_of_it_is_refused(tmp_path):
    vptx.save_prompt(vptx.attach(vit(), None, tune=['norm']), tmp_path / 'part.safetensors')
    with pytest.raises(ValueError, match=r'part\.safetensors does not fit this VisionTransformer: it lacks cls_token'):
        load_weights(vit(), tmp_path / 'part.safetensors')


@pytest.mark.parametrize('file', ['epoch_2.pth', 'prompt.safetensors'])
def test_a_run_that_tuned_all_is_the_start_of_a_prompted_network(file, tmp_path):
    hooks = [dict(hook(), prompter=None, tune=['.*'])]
    first = runner(tmp_path / 'full', hooks=hooks)
    first.train()
    second = runner(tmp_path / 'run', **{'model.backbone.net': net(weights=str(tmp_path / 'full' / file))})
    theirs, ours = (run.model.backbone.net.model.state_dict() for run in (first, second))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    second.train()
