"""PromptSRC's average over epochs: of what trains alone, resumable, and in the file."""

from math import exp

import pytest
import runs
import torch
from clips import changes, write_towers
from mmengine.config import Config
from mmengine.hooks import Hook
from networks import images
from safetensors.torch import load_file

import vptx
from vptx.attach import find_prompted_network
from vptx.hooks import GaussianAverageHook, gaussian_weights
from vptx.prompt_file import names_in_file
from vptx.registry import HOOKS
from vptx.trainable import trained_names, unwrap_model

AVERAGE = dict(type='GaussianAverageHook', mean=2.0, std=1.0)
EPOCHS = {'train_cfg.max_epochs': 3}
PROMPTS = dict(
    prompter=dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=2),
    image=dict(type='CoupledPrompter'),
)


@HOOKS.register_module(force=True)
class Epochs(Hook):
    """Notes what the model is after each epoch, before the average is put into it."""

    priority = 'ABOVE_NORMAL'

    def before_train(self, runner):
        self.states = []

    def after_train_epoch(self, runner):
        state = unwrap_model(runner.model).state_dict()
        self.states.append({name: tensor.clone() for name, tensor in state.items()})


@pytest.mark.parametrize(('epochs', 'mean', 'std'), [(20, 15, 1), (20, 6, 10), (50, 30, 30), (50, 45, 5), (3, 90, 0.1)])
def test_weights_are_a_bell_whose_sum_is_1(epochs, mean, std):
    weights = gaussian_weights(epochs, mean, std)
    assert len(weights) == epochs and sum(weights) == pytest.approx(1, abs=1e-12)
    if mean < epochs:
        for t in (1, 7, epochs):
            ratio = exp(-((t - mean) ** 2) / (2 * std**2))
            assert weights[t - 1] / weights[mean - 1] == pytest.approx(ratio)


def trained(work_dir, average=AVERAGE, **more):
    changed = changes(**PROMPTS, hooks=[dict(type='Epochs'), average])
    run = runs.runner(work_dir, **changed, **{**EPOCHS, **more})
    run.train()
    return run


def test_the_model_the_checkpoint_and_the_file_are_the_average(tmp_path):
    run = trained(tmp_path)
    model = unwrap_model(run.model)
    (hook,) = (hook for hook in run.hooks if isinstance(hook, Epochs))
    names, state, weights = trained_names(model), model.state_dict(), gaussian_weights(3, 2.0, 1.0)
    assert len(names) == 6
    for name, tensor in state.items():
        first, *_, last = (epoch[name] for epoch in hook.states)
        if name in names:
            expected = sum(w * epoch[name].double() for w, epoch in zip(weights, hook.states, strict=True))
            torch.testing.assert_close(tensor, expected.float(), rtol=0, atol=0)
            assert not torch.equal(first, last) and not torch.equal(tensor, last)
        else:
            assert torch.equal(tensor, first)
    saved, file = runs.load(runs.newest(tmp_path)), load_file(tmp_path / 'prompt.safetensors')
    for name, inner in names_in_file(model).items():
        assert torch.equal(saved['state_dict'][name], state[name]) and torch.equal(file[inner], state[name])


def test_its_file_is_loaded_by_the_config(tmp_path):
    changed = changes(**PROMPTS, hooks=[AVERAGE], weights=write_towers(tmp_path), pulls=[dict(type='ImagePull')])
    run = runs.runner(tmp_path / 'run', **changed)
    run.train()
    config = Config(runs.tiny_config(tmp_path / 'run', **changed))
    model = vptx.init_model(config, tmp_path / 'run' / 'prompt.safetensors')
    trained, loaded = (find_prompted_network(found).eval() for found in (run.model, model))
    image = images(2, (16, 16))
    with torch.no_grad():
        assert torch.equal(loaded(image)[0], trained(image)[0])


def test_what_does_not_move_is_its_own_average_and_what_is_frozen_stays_to_the_bit(tmp_path):
    run = trained(tmp_path, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0, _delete_=True)))
    prompted = find_prompted_network(run.model)
    (hook,) = (hook for hook in run.hooks if isinstance(hook, Epochs))
    state = unwrap_model(run.model).state_dict()
    assert all(torch.equal(tensor, hook.states[0][name]) for name, tensor in state.items())
    assert prompted.mapping.text.prompter.context.any()


def test_a_run_that_goes_on_ends_with_the_same_average(tmp_path):
    whole = trained(tmp_path / 'whole')
    changed = changes(**PROMPTS, hooks=[dict(type='Epochs'), AVERAGE])
    runs.interrupted(tmp_path / 'cut', 7, **changed, **EPOCHS)
    resumed = runs.runner(tmp_path / 'cut', **changed, **EPOCHS, resume=True)
    resumed.train()
    ours, theirs = (load_file(tmp_path / name / 'prompt.safetensors') for name in ('whole', 'cut'))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.epoch == resumed.epoch == 3
    for other, more, message in [
        (dict(AVERAGE, std=2.0), EPOCHS, r'std=1\.0, epochs=3, this run has mean=2\.0, std=2\.0, epochs=3'),
        (AVERAGE, {'train_cfg.max_epochs': 4}, 'this run has mean=2.0, std=1.0, epochs=4'),
    ]:
        changed = changes(**PROMPTS, hooks=[other])
        with pytest.raises(ValueError, match=message):
            runs.runner(tmp_path / 'cut', **changed, **more, resume=True).train()


def test_a_checkpoint_without_the_sum_is_refused(tmp_path):
    runs.interrupted(tmp_path, 4, **changes(**PROMPTS), **EPOCHS)
    changed = changes(**PROMPTS, hooks=[AVERAGE])
    with pytest.raises(ValueError, match='does not hold the sum of GaussianAverageHook'):
        runs.runner(tmp_path, **changed, **EPOCHS, resume=True).train()


def test_a_sum_that_is_none_is_refused(tmp_path):
    changed = changes(**PROMPTS, hooks=[AVERAGE])
    runs.interrupted(tmp_path, 4, **changed, **EPOCHS)
    path = runs.newest(tmp_path)
    checkpoint = runs.load(path)
    record = checkpoint['gaussian_average']
    name = next(iter(record['sum']))
    for bad in (
        7,
        dict(record, sum=[]),
        dict(record, mean='2'),
        dict(record, sum={}),
        dict(record, sum={**record['sum'], name: 1.0}),
        dict(record, sum={**record['sum'], name: record['sum'][name][:1]}),
        dict(record, sum={**record['sum'], name: record['sum'][name] * float('nan')}),
    ):
        torch.save(dict(checkpoint, gaussian_average=bad), path)
        with pytest.raises(ValueError, match='does not hold the sum of GaussianAverageHook'):
            runs.runner(tmp_path, **changed, **EPOCHS, resume=True).train()


def test_options_that_cannot_be_meant(tmp_path):
    with pytest.raises(ValueError, match='std must be above 0, not 0'):
        GaussianAverageHook(std=0)
    loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2, val_interval=10)
    with pytest.raises(ValueError, match=r'averages over epochs: .* not a IterBasedTrainLoop'):
        trained(tmp_path, train_cfg=loop, param_scheduler=None)
