"""Images of 1, 4, 6 and 13 bands, from the file to the picture of a prompt."""

import re
import runpy

import numpy as np
import pytest
import tifffile
import timm
import torch
from mmengine.config import Config
from PIL import Image
from runs import REPO, hook, runner, tiny_config, write_weights

import vptx
from vptx.attach import find_prompted_network
from vptx.predict import predict
from vptx.weights import load_weights


def write(root, channels: int, suffix: str, last: bool = True) -> None:
    """Two classes that differ in the last band."""
    noise = np.random.default_rng(0)
    for split in ('train', 'test'):
        for i in range(12):
            values = noise.integers(0, 3000, (16, 16, channels)).astype(np.uint16)
            values[..., -1] += 5000 * (i % 2)
            path = root / split / 'ab'[i % 2] / f'{i}{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == '.npy':
                np.save(path, values if last else np.moveaxis(values, 2, 0))
            else:
                several = dict(photometric='minisblack', planarconfig='contig') if channels > 1 else {}
                tifffile.imwrite(path, values if channels > 1 else values[..., 0], **several)


def changes(root, channels: int, seen: int | None = None, prompter: dict | None = None, **load) -> dict:
    """Of a run, to images of so many bands, of which the network sees ``seen``."""
    seen = seen or channels
    pipeline = [dict(type='LoadBands', channels=channels, **load), dict(type='PackInputs')]
    loaders = {
        f'{split}_dataloader': dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(type='CustomImages', data_root=str(root), split=split, pipeline=pipeline, _delete_=True),
        )
        for split in ('train', 'val', 'test')
    }
    return {
        **loaders,
        'model.head.num_classes': 2,
        'model.data_preprocessor': dict(num_classes=2, mean=[1500.0] * seen, std=[2500.0] * seen, to_rgb=False),
        'model.backbone.net.in_chans': seen,
        'model.backbone.net.weights': str(write_weights(root.with_suffix('.pth'))),  # of three channels
        'train_cfg.max_epochs': 4,
        'optim_wrapper.optimizer.lr': 0.05,
        'hooks': [hook(prompter or dict(type='BorderPrompter', width=2, space='unit'))],
    }


@pytest.mark.parametrize(
    ('channels', 'suffix', 'prompter', 'load', 'drawn'),
    [
        (1, '.tif', dict(type='PixelPrompter', space='unit'), {}, []),
        (4, '.npy', dict(type='LowRankPrompter'), dict(layout='first'), ['--bands', '4', '2', '1']),
        (6, '.tif', dict(type='ChannelPrompter', num_channels=2), {}, ['--bands', '6']),
        (13, '.tif', None, {}, ['--bands', '13', '3', '2']),
        (13, '.npy', dict(type='PrependedPixelPrompter', num_tokens=3), dict(bands=[13, 4, 3, 2]), []),
    ],
)
def test_from_file_to_picture(channels, suffix, prompter, load, drawn, tmp_path, monkeypatch, capsys):
    data = tmp_path / 'data'
    write(data, channels, suffix, last=load.get('layout') != 'first')
    options = changes(data, channels, len(load.get('bands', range(channels))), prompter, **load)
    run = runner(tmp_path / 'work', **options)
    run.train()
    assert run.test()['accuracy/top1'] > 70
    Config(tiny_config(tmp_path / 'work', **options)).dump(str(tmp_path / 'config.py'))
    arguments = [
        tmp_path / 'config.py',
        tmp_path / 'work' / 'prompt.safetensors',
        data / 'test',
        '--show-prompt',
        *drawn,
    ]
    monkeypatch.setattr('sys.argv', ['predict.py', *map(str, arguments), '--out-dir', str(tmp_path / 'out')])
    runpy.run_path(str(REPO / 'tools' / 'predict.py'), run_name='__main__')
    right = re.findall(r'/([ab])/\d+\.\w+ +[\d.]+%  ([ab])', capsys.readouterr().out)
    assert len(right) == 12 and sum(folder == said for folder, said in right) > 8
    assert {'prompt.png', 'predictions.png'} <= {path.name for path in (tmp_path / 'out').iterdir()}
    assert np.asarray(Image.open(tmp_path / 'out' / 'prompt.png')).std() > 1


def test_bands_that_images_do_not_have(tmp_path):
    write(tmp_path / 'data', 4, '.tif')
    run = runner(tmp_path / 'work', **changes(tmp_path / 'data', 4))
    paths = sorted((tmp_path / 'data' / 'test').rglob('*.tif'))
    run.model.cfg, run.model.dataset_meta = run.cfg, {}
    for bands in ([5, 1, 2], [0], [1, 2]):
        with pytest.raises(ValueError, match=r'\.tif: bands .* choose one or three numbers from 1 to 4'):
            next(predict(run.model, paths, pictures=1, bands=bands))


# Channels that disagree


def test_statistics_are_those_of_the_data_preprocessor(tmp_path):
    write(tmp_path / 'data', 4, '.tif')
    run = runner(tmp_path / 'work', **changes(tmp_path / 'data', 4))
    run.call_hook('before_run')
    facts = find_prompted_network(run.model).net.geometry
    assert facts.mean == pytest.approx((1500 / 255,) * 4) and len(facts.std) == 4


def test_preprocessor_and_network(tmp_path):
    write(tmp_path / 'data', 4, '.tif')
    options = changes(tmp_path / 'data', 4, prompter=dict(type='DeepPrompter', num_tokens=2))
    options['model.data_preprocessor'] |= dict(mean=[0.0] * 3, std=[1.0] * 3)
    expected = r'data_preprocessor\.mean has 3 values, and vit_mini_patch8_64 takes images of 4 channels: give it 4'
    with pytest.raises(ValueError, match=expected):
        runner(tmp_path / 'work', **options).train()
    with pytest.raises(ValueError, match=expected):
        runner(tmp_path / 'work', **options).test()


def test_images_and_network(tmp_path):
    write(tmp_path / 'data', 4, '.tif')
    options = changes(tmp_path / 'data', 4, 3, prompter=dict(type='DeepPrompter', num_tokens=2))
    expected = r'\d+\.tif has 4 channels as it is loaded, and vit_mini_patch8_64 takes 3: load as many'
    run = runner(tmp_path / 'work', **options)
    with pytest.raises(ValueError, match=expected):
        run.train()
    run.model.cfg, run.model.dataset_meta = run.cfg, {}
    with pytest.raises(ValueError, match=expected):
        list(predict(run.model, sorted((tmp_path / 'data' / 'test').rglob('*.tif'))))


def test_a_usual_loader_says_what_to_use(tmp_path):
    write(tmp_path / 'data', 6, '.npy')
    options = changes(tmp_path / 'data', 6)
    for split in ('train', 'val', 'test'):
        options[f'{split}_dataloader']['dataset']['pipeline'][0] = dict(type='LoadImageFromFile')
    with pytest.raises(ValueError, match=r"\.npy cannot be read .*numpy.*dict\(type='LoadBands'"):
        runner(tmp_path / 'work', **options).train()


def test_a_public_network_is_adapted_as_timm_does(tmp_path):
    three, path = timm.create_model('vit_mini_patch8_64'), tmp_path / 'weights.pth'
    torch.save(three.state_dict(), path)
    for channels in (1, 4, 13):
        model = timm.create_model('vit_mini_patch8_64', in_chans=channels)
        report = load_weights(model, path)
        kernels, own = three.patch_embed.proj.weight, model.patch_embed.proj.weight
        if channels == 1:
            expected = kernels.sum(1, keepdim=True)
        else:
            expected = torch.stack([kernels[:, i % 3] for i in range(channels)], 1) * 3 / channels
        torch.testing.assert_close(own, expected)
        assert report.resized['patch_embed.proj.weight'] == ((192, 3, 8, 8), (192, channels, 8, 8))
        grey = torch.rand(2, 1, 64, 64)  # what a network of three channels sees of a grey image
        same = [vptx.attach(net).eval()(grey.expand(-1, n, -1, -1)) for net, n in ((model, channels), (three, 3))]
        if channels == 1:
            torch.testing.assert_close(*same, rtol=1e-4, atol=1e-4)


def test_weights_of_other_than_three_channels_are_not_adapted(tmp_path):
    torch.save(timm.create_model('vit_mini_patch8_64', in_chans=4).state_dict(), tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=r'patch_embed\.proj\.weight \(192, 4, 8, 8\) instead of \(192, 13, 8, 8\)'):
        load_weights(timm.create_model('vit_mini_patch8_64', in_chans=13), tmp_path / 'weights.pth')
