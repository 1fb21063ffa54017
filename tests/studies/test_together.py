"""Tasks that train side by side learn what each would have learnt alone."""

import pytest
import runs
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from safetensors.torch import load_file

from vptx.registry import DATASETS
from vptx.serve.frozen import FrozenNetwork
from vptx.studies import together
from vptx.studies.together import train_together

PROMPTERS = {
    'deep': dict(type='DeepPrompter', num_tokens=2),
    'longer': dict(type='DeepPrompter', num_tokens=4, project_dim=4),
    'shallow': dict(type='ShallowPrompter', num_tokens=2),
    'probe': None,
    'LoRA': dict(type='LoRA', rank=2),
}


@DATASETS.register_module(force=True)
class OtherImages(runs.TinyImages):
    """Images of another task, with noise that a run draws."""

    def __init__(self, offset: int = 0, **arguments) -> None:
        self.offset = offset
        super().__init__(**arguments)

    def prepare_data(self, idx):
        item = super().prepare_data(idx)
        item['inputs'] = item['inputs'].float() + self.offset + 5 * torch.randn(item['inputs'].shape)
        return item


def config(folder, name, weights, epochs=2, **changes) -> Config:
    number = list(PROMPTERS).index(name)
    data = runs.loader(True)
    data['dataset'] = dict(data['dataset'], type='OtherImages', offset=10 * number, number=24 + 8 * (number % 2))
    hook = dict(type='PromptTuningHook', prompter=PROMPTERS[name], tune=['head'])
    given = runs.tiny_config(folder / name, hooks=[hook], train_dataloader=data, **changes)
    given['model']['backbone'] = dict(type='PromptedBackbone', net=runs.net(weights=str(weights)), readout='cls')
    given['train_cfg']['max_epochs'] = epochs
    given['custom_imports'] = dict(imports=['vptx', 'runs'], allow_failed_imports=False)
    return Config(given)


def learnt(folder) -> dict:
    return load_file(folder / 'prompt.safetensors')


@pytest.fixture
def weights(tmp_path):
    return runs.write_weights(tmp_path / 'weights.pth')


@pytest.mark.parametrize('near', [together.NEAR, 1], ids=['one pass', 'a pass for each task'])
def test_each_learns_what_it_would_have_learnt_alone(near, tmp_path, weights, monkeypatch):
    sizes, features = [], FrozenNetwork.features
    monkeypatch.setattr(together, 'NEAR', near)
    monkeypatch.setattr(
        FrozenNetwork, 'features', lambda own, *given: (sizes.append(len(given[0])), features(own, *given))[1]
    )
    epochs = {name: 2 + (name == 'longer') for name in PROMPTERS}  # one goes on when the others are done
    ended = []
    make = {name: config(tmp_path / 'together', name, weights, epochs[name]) for name in PROMPTERS}
    done = train_together(make, ended.append)
    assert sorted(ended) == sorted(PROMPTERS) and set(done) == set(PROMPTERS)
    assert max(sizes) == (8 if near == 1 else 24)  # deep, longer and the probe are of one kind
    for name in PROMPTERS:
        DefaultScope._instance_dict.clear()
        alone = config(tmp_path / 'alone', name, weights, epochs[name])
        alone.experiment_name = f'alone_{name}'
        from mmengine.runner import Runner

        Runner.from_cfg(alone).train()
        wanted, found = learnt(tmp_path / 'alone' / name), learnt(tmp_path / 'together' / name)
        assert wanted.keys() == found.keys()
        for key, tensor in wanted.items():
            torch.testing.assert_close(
                found[key], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name, k=key: f'{n} {k} {m}'
            )
        assert 'accuracy/top1' in done[name].test()


def test_what_cannot_train_together(tmp_path, weights):
    with pytest.raises(ValueError, match='no task'):
        train_together({})
    other = runs.write_weights(tmp_path / 'other.pth', seed=1)
    with pytest.raises(ValueError, match='probe has another frozen network than deep'):
        train_together({'deep': config(tmp_path, 'deep', weights), 'probe': config(tmp_path, 'probe', other)})
    inside = config(tmp_path / 'inside', 'deep', weights)
    inside.custom_hooks[0].tune = ['head', 'norm1']
    with pytest.raises(ValueError, match=r'deep trains .*norm1.* inside the network that all tasks share'):
        train_together({'deep': inside})
