"""E^2VPT's second training: pruned by a first one, from the beginning, and what cannot be pruned."""

import pytest
import torch
from runs import hook, load, newest, runner
from safetensors.torch import load_file

FACTORED = dict(type='DeepPrompter', num_tokens=4, segments=8)


def two(folder, **options):
    """A first training, and the Runner of a second one that has not begun."""
    runner(folder / 'first', hooks=[hook(FACTORED)]).train()
    pruning = dict(type='PruningHook', first=str(folder / 'first' / 'prompt.safetensors'), **options)
    return runner(folder / 'second', hooks=[hook(FACTORED), pruning], **{'train_cfg.max_epochs': 1})


def trained(run) -> dict[str, torch.Tensor]:
    """Train, and give what there was before the first iteration."""
    begun, call = {}, run.call_hook

    def remember(name, **arguments):
        if name == 'before_train_iter' and not begun:
            begun.update({key: tensor.clone() for key, tensor in run.model.state_dict().items()})
        return call(name, **arguments)

    run.call_hook = remember
    run.train()
    return begun


def test_a_second_training_starts_again_without_what_is_pruned(tmp_path):
    run = two(tmp_path, tokens=0.25, segments=10)
    begun, fresh = trained(run), trained(runner(tmp_path / 'third', hooks=[hook(FACTORED)]))
    changed = {key for key, tensor in begun.items() if not tensor.equal(fresh[key])}
    assert {key.rpartition('.')[2] for key in changed} == {'token_mask', 'segment_mask'}
    masks = {key.rpartition('.')[2]: key for key in changed}
    assert begun[masks['token_mask']].sum() == 3 and begun[masks['segment_mask']].sum() == 32 - 10
    kept = load_file(tmp_path / 'second' / 'prompt.safetensors')
    ended = {key.rpartition('.')[2]: tensor for key, tensor in kept.items()}
    assert torch.equal(ended['token_mask'], begun[masks['token_mask']])
    assert torch.equal(ended['segment_mask'], begun[masks['segment_mask']])
    rows = next(key for key in begun if key.endswith('embedding.rows.0'))
    assert not torch.equal(run.model.state_dict()[rows], begun[rows])


def test_a_resumed_run_keeps_its_factors(tmp_path):
    run = two(tmp_path, tokens=2)
    run.train()
    (tmp_path / 'first' / 'prompt.safetensors').unlink()
    hooks = [hook(FACTORED), dict(type='PruningHook', first=str(tmp_path / 'first' / 'prompt.safetensors'), tokens=2)]
    rest = runner(tmp_path / 'second', hooks=hooks, resume=True)
    rest.train()
    state = load(newest(tmp_path / 'second'))['state_dict']
    (mask,) = (tensor for key, tensor in state.items() if key.endswith('token_mask'))
    assert mask.sum() == 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(tokens=4), 'of 4 prompts, 0 to 3 can be pruned, not 4'),
        (dict(segments=32), 'of 32 segments, 0 to 31 can be pruned, not 32'),
    ],
)
def test_more_than_there_is(tmp_path, options, message):
    run = two(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        run.train()


def test_bad_input(tmp_path):
    for wrong in (-1, 1.5, True):
        pruning = dict(type='PruningHook', first='none', tokens=wrong)
        with pytest.raises(ValueError, match='tokens is a number of them, or a share below 1'):
            runner(tmp_path, hooks=[hook(FACTORED), pruning])
    with pytest.raises(FileNotFoundError, match='train the same config without PruningHook first'):
        runner(tmp_path, hooks=[hook(FACTORED), dict(type='PruningHook', first=str(tmp_path / 'none'))]).train()
    plain = dict(type='DeepPrompter', num_tokens=4)
    runner(tmp_path / 'plain', hooks=[hook(plain)]).train()
    first = str(tmp_path / 'plain' / 'prompt.safetensors')
    with pytest.raises(ValueError, match='factors to prune by, not one: dict'):
        runner(tmp_path, hooks=[hook(plain), dict(type='PruningHook', first=first)]).train()
    with pytest.raises(ValueError, match=r'plain/prompt\.safetensors'):
        runner(tmp_path, hooks=[hook(FACTORED), dict(type='PruningHook', first=first)]).train()
