"""The picture of a prompt: what is drawn is what was learnt, in the range that it says."""

import runpy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from networks import CLASSES, PATCH, SIZE, images, tiny
from PIL import Image
from runs import REPO, hook, net, write_config, write_weights

import vptx
from vptx.analysis.prompt_picture import check_pixels, draw_prompt, seen_by


def drawn(prompter, mapping=None, number=3):
    torch.manual_seed(0)
    model = vptx.attach(tiny(), prompter, mapping=mapping).eval()
    seen = list(images(number))
    figure = draw_prompt(model, seen, ['first', 'second'])
    return model, seen, figure, {axis.get_title(loc='left'): axis for axis in figure.findobj(is_axes)}


def is_axes(artist):
    return hasattr(artist, 'get_images')


def picture(axis):
    (image,) = axis.get_images()
    return np.asarray(image.get_array())


def rows(figure):
    """Label of a row -> its pictures."""
    found, label = {}, ''
    for axis in figure.findobj(is_axes):
        if not axis.get_title(loc='left') and axis.get_images() and axis.get_visible():
            label = axis.get_ylabel() or label
            found.setdefault(label, []).append(picture(axis))
    return found


def visible(model, image):
    facts = model.net.geometry
    return (image.permute(1, 2, 0).detach().numpy() * facts.std + facts.mean).clip(0, 1)


def test_pixels_on_the_image_are_drawn_as_differences():
    model, seen, figure, panels = drawn(dict(type='BorderPrompter', width=4), dict(type='RandomMapping', num_classes=4))
    learnt = model.prompter.pattern(images(1))[..., :].detach().permute(1, 2, 0).numpy() * model.net.geometry.std
    panel = panels['learnt pixels, added']
    assert np.allclose(picture(panel), 0.5 + learnt / (2 * np.abs(learnt).max()), atol=1e-6)
    assert (picture(panel)[4:-4, 4:-4] == 0.5).all() and np.abs(picture(panel) - 0.5).max() == pytest.approx(0.5)
    assert f'{255 * np.abs(learnt).max():.0f}, of 255' in panel.get_xlabel()
    assert np.allclose(picture(panels['their strength']), 255 * np.abs(learnt).mean(2), atol=1e-4)
    found = rows(figure)
    assert list(found) == ['as they are', 'prompted']
    for image, before, after in zip(seen, found['as they are'], found['prompted'], strict=True):
        assert np.allclose(before, visible(model, image), atol=1e-6)
        assert np.allclose(after, visible(model, model.prompter.image(image[None])[0]), atol=1e-6)
    captions = [axis.get_xlabel() for axis in figure.findobj(is_axes)]
    assert {'first', 'second'} <= set(captions)
    table = panels["RandomMapping: class \N{LEFTWARDS ARROW} network's class"]
    told = [text.get_text() for text in table.texts]
    sources = model.mapping.sources.flatten().tolist()
    assert told[::2] == ['0', '1', '2', '3']
    names = [model.net.class_names[source] if model.net.class_names else str(source) for source in sources]
    assert all(name[:20] in text for name, text in zip(names, told[1::2], strict=True))


def test_pixels_around_an_image_are_drawn_as_colours():
    model, _, _, panels = drawn(dict(type='ReprogramPrompter', side=16, space='unit', bound='sigmoid', init='gaussian'))
    learnt = model.prompter.pattern(images(1)).detach().permute(1, 2, 0).numpy()
    found = picture(panels['learnt pixels'])
    assert np.allclose(found[:8, :, :3], learnt[:8], atol=1e-6)
    assert (found[8:24, 8:24, 3] == 0).all() and (found[:8, :, 3] == 1).all()
    assert panels['learnt pixels'].get_xlabel().startswith('colours as they are')
    _, _, _, panels = drawn(dict(type='PadPrompter', init='gaussian'))  # beyond black and white
    found, told = picture(panels['learnt pixels']), panels['learnt pixels'].get_xlabel()
    frame = found[..., :3][found[..., 3] == 1]
    assert frame.min() == 0 and frame.max() == 1 and 'so that black is -' in told and f'{SIZE} x {SIZE} px' in told


def test_a_prompt_of_each_image_is_drawn_as_its_difference():
    model, seen, figure, panels = drawn(dict(type='SampleMaskPrompter', init='gaussian'))
    changes = [(model.prompter.image(image[None])[0] - image).permute(1, 2, 0).detach() for image in seen]
    changes = np.stack([change.numpy() * model.net.geometry.std for change in changes])
    assert panels.keys() <= {''}
    found = rows(figure)['what changed']
    assert np.allclose(found, 0.5 + changes / (2 * np.abs(changes).max()), atol=1e-5)
    assert any(
        'Not the same for every image' in text.get_text() for text in figure.findobj(lambda a: hasattr(a, 'get_text'))
    )


def test_patches_beside_the_image_and_channels_behind_it():
    model, _, figure, panels = drawn(dict(type='PrependedPixelPrompter', num_tokens=5, init='normalised'))
    found = picture(panels['learnt patches'])
    assert found.shape == (2 * PATCH, 3 * PATCH, 3)
    fifth = model.prompter.strip[:, :, 4 * PATCH :]
    assert np.allclose(found[PATCH:, PATCH : 2 * PATCH], visible(model, fifth), atol=1e-6)
    assert list(rows(figure)) == ['as they are']
    model, _, figure, panels = drawn(dict(type='ChannelPrompter', num_channels=2))
    found = picture(panels['learnt channels (2)'])
    first = model.prompter.channels[0].detach().numpy()
    assert np.corrcoef(found[..., 0].ravel(), first.ravel())[0, 1] > 0.999 and list(rows(figure)) == ['as they are']


def test_tokens_are_nothing_to_look_at():
    stack = [dict(type='LowRankPrompter'), dict(type='DeepPrompter', num_tokens=2)]
    assert check_pixels(vptx.attach(tiny(), stack)).net.geometry.classes == CLASSES
    for model, name in ((vptx.attach(tiny(), stack[1]), 'DeepPrompter'), (tiny(), 'VisionTransformer')):
        with pytest.raises(ValueError, match=f'{name} has no learnt pixels .*: there is nothing to show'):
            check_pixels(model)


def test_mappings_of_several_sources_and_many_classes():
    _, _, _, panels = drawn(dict(type='PixelPrompter'), dict(type='RandomMapping', num_classes=2, per_class=3))
    (table,) = (axis for title, axis in panels.items() if 'RandomMapping' in title)
    assert all(text.get_text().endswith('(0.33), ...') for text in table.texts[1::2])
    model = vptx.attach(tiny(), dict(type='PixelPrompter'), mapping=dict(type='BayesianMapping', num_classes=30))
    figure = draw_prompt(model.eval(), list(images(1)))  # not estimated yet
    assert not any('Mapping' in axis.get_title(loc='left') for axis in figure.findobj(is_axes))
    model.mapping.estimate(torch.rand(CLASSES, 30))
    model.dataset_meta = dict(classes=[f'{"long " * 9}{i}, or so' for i in range(30)])
    figure = draw_prompt(model, list(images(1)))
    (table,) = (axis for axis in figure.findobj(is_axes) if 'BayesianMapping' in axis.get_title(loc='left'))
    told = [text.get_text() for text in table.texts]
    assert told[-1] == 'and 14 more' and len(told[0]) <= 18 and told[0].endswith('\N{HORIZONTAL ELLIPSIS}')


def test_the_first_images_of_several_batches_are_seen():
    model, image = vptx.attach(tiny(), dict(type='PixelPrompter')).eval(), images(5)
    with seen_by(model, most=4) as seen:
        model(image[:3])
        model(image[3:])
    model(image)
    assert torch.equal(torch.stack(seen), image[:4])


def test_the_tools(tmp_path, monkeypatch, capsys):
    for i in range(2):
        Image.fromarray(np.full((16, 16, 3), 80 * i, np.uint8)).save(tmp_path / f'{i}.png')

    weights = str(write_weights(tmp_path / 'weights.pth', num_classes=9))

    def tool(prompter):
        mapping = dict(mapping=dict(type='RandomMapping', num_classes=3), tune=[])
        head = dict(type='ClsHead', _delete_=True)
        model = dict(backbone=dict(net=net(num_classes=9, weights=weights)), head=head)
        path = write_config(tmp_path / 'config.py', tmp_path, hooks=[hook(prompter, **mapping)], model=model)
        vptx.save_prompt(
            vptx.init_model(Config.fromfile(path)), tmp_path / 'p.safetensors', classes=['bright', 'dark', 'striped']
        )
        arguments = [path, tmp_path / 'p.safetensors', tmp_path, '--show-prompt', '--out-dir', tmp_path / 'out']
        monkeypatch.setattr('sys.argv', ['predict.py', *map(str, arguments)])
        runpy.run_path(str(REPO / 'tools' / 'predict.py'), run_name='__main__')

    tool(dict(type='BorderPrompter', width=2))
    assert f'wrote {tmp_path / "out" / "prompt.png"}' in capsys.readouterr().out
    assert Image.open(tmp_path / 'out' / 'prompt.png').size[0] > 1000
    files = [str(tmp_path / name) for name in ('config.py', 'p.safetensors', 'border.png', 'border.jpg')]
    monkeypatch.setattr('sys.argv', ['export_pixels.py', *files])
    with pytest.raises(SystemExit, match=r'not border\.jpg'):
        runpy.run_path(str(REPO / 'tools' / 'export_pixels.py'), run_name='__main__')
    assert 'border.png: x' in capsys.readouterr().out and Image.open(files[2]).size == (16, 16)
    with pytest.raises(SystemExit, match='--show-prompt: DeepPrompter has no learnt pixels'):
        tool(dict(type='DeepPrompter', num_tokens=2))
