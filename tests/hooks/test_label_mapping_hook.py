"""Label mappings in real runs: when they are estimated, and from what. Of several processes: test_many_processes.py."""

import re

import pytest
import torch
from runs import CLASSES, differences, hook, load, net, newest, runner, write_config, write_weights

import vptx
from vptx.hooks import LabelMappingHook
from vptx.mappings import IterativeMapping
from vptx.mappings.frequency import greedy
from vptx.prompt_file import read_prompt

SOURCES = 9
CLS_HEAD = dict(type='ClsHead', _delete_=True)
PIXELS = dict(type='PixelPrompter', space='unit')


def mapped(kind, prompter=PIXELS, **options):
    return dict(type='PromptTuningHook', prompter=prompter, mapping=dict(type=kind, num_classes=3, **options))


def config(kind='IterativeMapping', prompter=PIXELS, options=None, **changes):
    """Changes of ``runs.tiny_config``: a network with nine classes of its own, read as three."""
    return {
        'hooks': [mapped(kind, prompter, **(options or {}))],
        'model.head': CLS_HEAD,
        'model.backbone.net': net(num_classes=SOURCES),
        **changes,
    }


@pytest.fixture
def estimates(monkeypatch):
    """Every estimate of a run: its counts, and whether the network was being trained."""
    found = []
    estimate = IterativeMapping.estimate

    def noted(self, counts):
        found.append(counts.clone())
        estimate(self, counts)

    monkeypatch.setattr(IterativeMapping, 'estimate', noted)
    return found


def test_counts_of_the_training_pass_cost_no_forward(tmp_path, estimates):
    run = runner(
        tmp_path,
        **config(**{'train_cfg.max_epochs': 3, 'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}),
    )
    calls, said = [], []
    run.call_hook('before_run')
    hall = run.model.backbone
    hall.net.register_forward_hook(lambda *_: None)
    classify = hall.net.classify

    def listened(*inputs):
        logits = classify(*inputs)
        calls.append(len(logits))
        said.append(logits.argmax(1))
        return logits

    hall.net.classify = listened
    labels = []
    step = run.call_hook

    def call(name, **arguments):
        if name == 'after_train_iter':
            labels.append(torch.cat([sample.gt_label for sample in arguments['data_batch']['data_samples']]))
        step(name, **arguments)

    run.call_hook = call
    run.train()
    # A pass of 24 images before training, then three epochs of 24, and not one forward more.
    assert sum(calls) == 24 * 4
    assert len(estimates) == 3 and all(counts.sum() == 24 for counts in estimates)
    # The second estimate, counted again by hand from the first epoch of training.
    by_hand = torch.zeros(SOURCES, 3, dtype=torch.float64)
    for source, label in zip(torch.cat(said[3:6]), torch.cat(labels[:3])):
        by_hand[source, label] += 1
    assert torch.equal(estimates[1], by_hand)
    # The last epoch is not followed by one: prompts leave with the mapping that they were trained for.
    assert hall.mapping.sources.tolist() == greedy(estimates[2].numpy(), 1).tolist()


def test_a_pass_of_its_own_as_published(tmp_path, estimates):
    options = dict(online=False, every=2)
    run = runner(tmp_path, **config(options=options, **{'train_cfg.max_epochs': 5}))
    run.train()
    assert len(estimates) == 3 and all(counts.sum() == 24 for counts in estimates)


@pytest.mark.parametrize('kind', ['IndexMapping', 'RandomMapping', 'FrequencyMapping', 'BayesianMapping'])
def test_without_prompts_nothing_trains_and_the_run_ends(tmp_path, kind):
    run = runner(tmp_path, **config(kind, prompter=None))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train()
    assert not any(p.requires_grad for p in run.model.parameters())
    assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in before.items())
    tensors, _ = read_prompt(tmp_path / 'prompt.safetensors')
    (name,) = tensors
    assert name.startswith('mapping.')
    alone = runner(tmp_path / 'alone', load_from=str(tmp_path / 'prompt.safetensors'), **config(kind, prompter=None))
    assert alone.test() == run.test()


def test_a_learnt_mapping_trains(tmp_path):
    run = runner(tmp_path, **config('FullyConnectedMapping', prompter=None))
    run.train()
    assert {n for n, p in run.model.named_parameters() if p.requires_grad} == {
        'backbone.mapping.linear.weight',
        'backbone.mapping.linear.bias',
    }


class PowerCutError(Exception):
    """Ends a run as a power cut does."""


@pytest.mark.parametrize('online', [True, False], ids=['online', 'pass'])
def test_resumed_it_is_the_same_to_the_bit(tmp_path, online):
    weights = write_weights(tmp_path / 'w.pth', num_classes=SOURCES)
    changes = {'model.backbone.net': net(num_classes=SOURCES, weights=str(weights)), 'train_cfg.max_epochs': 3}

    def made(folder, resume=False):
        return runner(tmp_path / folder, resume=resume, **config(options=dict(online=online), **changes))

    made('straight').train()
    cut = made('resumed')
    step = cut.call_hook

    def call(name, **arguments):
        if name == 'before_train_iter' and cut.iter == 7:
            raise PowerCutError
        step(name, **arguments)

    cut.call_hook = call
    with pytest.raises(PowerCutError):
        cut.train()
    made('resumed', resume=True).train()
    ours, theirs = (load(newest(tmp_path / folder)) for folder in ('resumed', 'straight'))
    assert not differences(ours['state_dict'], theirs['state_dict'])


def test_the_mapping_is_drawn_in_the_log(tmp_path):
    run = runner(tmp_path, log_level='INFO', **config(**{'train_cfg.max_epochs': 2}))
    run.train()
    text = (tmp_path / run.timestamp / f'{run.timestamp}.log').read_text()
    assert re.search(r'IterativeMapping of 3 classes\n  bright <- \d\n  dark <- \d\n  striped <- \d\n', text)
    assert re.search(r'IterativeMapping of 3 classes, \d changed\n', text)


def test_a_loaded_model_maps_without_images(tmp_path):
    weights = write_weights(tmp_path / 'w.pth', num_classes=SOURCES)
    changes = config(**{'model.backbone.net': net(num_classes=SOURCES, weights=str(weights))})
    run = runner(tmp_path / 'run', **changes)
    run.train()
    path = write_config(tmp_path / 'config.py', tmp_path / 'none', **changes)
    model = vptx.init_model(path, tmp_path / 'run' / 'prompt.safetensors')
    image = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.backbone(image)[0], run.model.eval().backbone(image)[0])
    assert model.dataset_meta['classes'] == list(CLASSES)


class Half:
    """Each image half of the next one too, as mmpretrain's batch augmentations mix them."""

    def __call__(self, images, scores):
        return (images + images.roll(1, 0)) / 2, (scores + scores.roll(1, 0)) / 2


def test_mixed_images_count_for_both_of_their_classes(tmp_path, estimates):
    run = runner(tmp_path, **config())
    run.model.data_preprocessor.to_onehot, run.model.data_preprocessor.batch_augments = True, Half()
    run.train()
    halves = 2 * estimates[1]
    assert estimates[1].sum() == 24
    assert torch.equal(halves, halves.round()) and not torch.equal(estimates[1], estimates[1].round())


def test_what_cannot_be_mapped(tmp_path):
    by_iter = {'train_cfg': dict(type='IterBasedTrainLoop', max_iters=2, _delete_=True), 'param_scheduler': []}
    with pytest.raises(ValueError, match='IterativeMapping is estimated once an epoch: train_cfg=dict'):
        runner(tmp_path, **config(**by_iter)).train()
    wrong = config()
    wrong['hooks'][0]['mapping'] = dict(type='IterativeMapping', num_classes=4)
    with pytest.raises(ValueError, match='has 3 classes, the mapping num_classes=4'):
        runner(tmp_path, **wrong).train()


def test_the_hook_comes_by_itself_and_only_with_a_mapping(tmp_path):
    for changes, expected in ((config('RandomMapping'), 1), (dict(hooks=[hook()]), 0)):
        run = runner(tmp_path, **changes)
        run.call_hook('before_run')
        assert sum(isinstance(h, LabelMappingHook) for h in run.hooks) == expected
