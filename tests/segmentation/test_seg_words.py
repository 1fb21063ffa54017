"""Class names under feature maps: each cell against the text head, in a run, in a file, and other classes."""

import numpy as np
import pytest
import segruns
import torch
from clips import DEPTH, EMBED, image_tower, tiny_clip
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from networks import images, tiny
from safetensors.torch import save_file

import vptx
from vptx.backbones import OpenCLIPText
from vptx.mappings import TextHead
from vptx.prompt_file import read_prompt
from vptx.registry import MODELS
from vptx.segmentation import HiddenIoUMetric, HideClasses, TextSegHead, TextSETRUPHead

NAMES = ['dark', 'red', 'green', 'bright']
CONTEXT = dict(type='ContextPrompter', words='a photo of a')
MAP = dict(maps=[-1], norm='projected')


def words(prompter=None, **options):
    return dict(tower=OpenCLIPText(tiny_clip()), classes=NAMES, prompter=prompter, **options)


# The map


@torch.no_grad()
def test_a_map_in_the_joint_space():
    model, vit, image = vptx.attach(image_tower(), readout=MAP).eval(), image_tower(), images(2)
    (found,) = model(image)
    assert found.shape == (2, EMBED, 4, 4)
    expected = vit.head(vit.forward_features(image)[:, 1:])  # behind the final norm
    torch.testing.assert_close(found, expected.transpose(1, 2).unflatten(2, (4, 4)), rtol=1e-5, atol=1e-5)
    prompter = dict(type='DeepPrompter', num_tokens=2, init='normal')
    (prompted,) = vptx.attach(image_tower(), prompter, readout=MAP).eval()(image)
    assert prompted.shape == found.shape and (prompted - found).abs().max() > 1e-4


def test_what_has_no_such_map():
    with pytest.raises(ValueError, match=r"norm='projected' is for the map of the last layer, dict\(maps=\[1\]"):
        vptx.attach(image_tower(), readout=dict(maps=[0], norm='projected'))
    with pytest.raises(ValueError, match=r'with the classifier (ModuleList|Identity)'):
        vptx.attach(tiny('distilled'), readout=MAP)


# The heads


@torch.no_grad()
def test_each_cell_is_read_as_an_image_is():
    head = TextSegHead(EMBED, words()).eval()
    x = torch.randn(2, EMBED, 3, 5)
    found, reference = head([x]), TextHead(**words())
    reference.bind(EMBED)
    assert found.shape == (2, 4, 3, 5)
    for row, column in ((0, 0), (2, 4), (1, 3)):
        torch.testing.assert_close(found[:, :, row, column], reference(x[:, :, row, column]))
    assert not list(head.parameters())


def test_up_sampling_in_front_of_names():
    head = TextSETRUPHead(words(CONTEXT), channels=EMBED, in_channels=12, num_convs=1, up_scale=2, in_index=0)
    head.init_weights()
    context = head.words.text.prompter.context
    assert torch.equal(context, head.words.text.net.word_vectors('a photo of a'))
    found = head([torch.randn(2, 12, 4, 4)])
    assert found.shape == (2, 4, 8, 8) and head.num_classes == head.out_channels == 4
    found.logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    head.set_classes(['a', 'b', 'c'])
    assert head([torch.randn(1, 12, 4, 4)]).shape == (1, 3, 8, 8) and head.out_channels == 3


@pytest.mark.parametrize(
    'width, options, message',
    [
        (8, {}, f'compares maps of channels=8 with names of {EMBED} numbers: set channels={EMBED}'),
        (EMBED, dict(classes=['a']), 'needs two class names or more'),
        (EMBED, dict(prompter=dict(type='ConditionalContextPrompter')), 'a map has many cells: use a ContextPrompter'),
    ],
)
def test_words_that_do_not_fit(width, options, message):
    with pytest.raises(ValueError, match=message):
        TextSegHead(width, dict(words(), **options))
    with pytest.raises(ValueError, match='num_classes=3, but there are 4 class names'):
        TextSegHead(EMBED, words(), num_classes=3)
    with pytest.raises(ValueError, match='needs two class names or more'):
        TextSegHead(EMBED, words()).set_classes(['a'])


# In a run


@pytest.fixture
def config(tmp_path):
    weights = tmp_path / 'clip.safetensors'
    save_file({name: tensor.contiguous() for name, tensor in tiny_clip().state_dict().items()}, weights)
    tower = dict(width=32, heads=2, layers=DEPTH, embed=EMBED, pretrained=str(weights))
    data = segruns.write_images(tmp_path / 'data')
    sizes = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=EMBED)
    net = dict(type='TimmViT', model='vit_base_patch16_clip_quickgelu_224', **sizes, weights=str(weights))

    def make(folder='work', classes=NAMES, tune=('decode_head',), head=None):
        head = head or dict(type='TextSegHead', in_channels=EMBED)
        found = segruns.seg_config(
            tmp_path / folder,
            data,
            hooks=[segruns.hook(dict(type='DeepPrompter', num_tokens=2), list(tune))],
            model=dict(auxiliary_head=None),
        )
        found.model.backbone = dict(type='PromptedBackbone', net=net, readout=MAP)
        named = dict(tower=tower, classes=list(classes), prompter=CONTEXT)
        loss = dict(type='CrossEntropyLoss')
        found.model.decode_head = dict(words=named, in_index=0, loss_decode=loss, **head)
        return found

    return make


@pytest.mark.parametrize('kind', ['TextSegHead', 'TextSETRUPHead'])
def test_it_trains_goes_to_a_file_and_reads_other_names(config, tmp_path, kind):
    head = dict(type=kind, in_channels=EMBED)
    if kind == 'TextSETRUPHead':
        head |= dict(channels=EMBED, num_convs=1, up_scale=2, dropout_ratio=0, norm_cfg=dict(type='BN'))
    run = Runner.from_cfg(config(head=head))
    run.train()
    path = tmp_path / 'work' / 'prompt.safetensors'
    tensors, facts = read_prompt(path)
    assert 'outside.decode_head.conv_seg.head.text.prompter.context' in tensors
    assert not any('net.model' in name for name in tensors)
    assert facts['mapping']['classes'] == NAMES and facts['mapping']['prompter'] == 'ContextPrompter'
    assert 'text' in facts['fingerprint']
    model, others = (vptx.init_model(config(classes=c, head=head), path) for c in (NAMES, ['red', 'owl']))
    image = images(1)
    found, two = (m(image, mode='tensor') for m in (model, others))
    assert found.shape[1] == 4 and two.shape[1] == 2
    torch.testing.assert_close(found[:, 1], two[:, 0], rtol=1e-4, atol=1e-4)
    assert model.dataset_meta == dict(classes=NAMES, palette=segruns.COLOURS.tolist())
    vptx.set_classes(model, ['red', 'owl', 'green'])
    assert model(image, mode='tensor').shape[1] == 3
    assert model.dataset_meta['classes'] == ['red', 'owl', 'green'] and len(model.dataset_meta['palette']) == 3
    changed = vptx.init_model(config(head=head))
    with torch.no_grad():
        changed.decode_head.words.text.net.model.ln_final.weight.add_(1)
    with pytest.raises(ValueError, match='fingerprint of its text'):
        vptx.load_prompt(changed, path)
    other = config(head=head)
    other.model.decode_head.words.prompter = dict(CONTEXT, position='front')
    with pytest.raises(ValueError, match='was trained with prompter_settings='):
        vptx.init_model(other, path)


def test_names_in_another_order_than_the_labels(config):
    run = Runner.from_cfg(config(classes=NAMES[::-1]))
    with pytest.raises(ValueError, match='the same classes in another order'):
        run.train()


# Hidden classes


def test_hidden_classes_have_no_labels():
    mask = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)
    found = HideClasses([1, 3])(dict(gt_seg_map=mask))['gt_seg_map']
    assert found.tolist() == [[0, 255, 2], [255, 255, 255]]
    for labels in ([], 'ab', [-1], 3):
        with pytest.raises(ValueError, match='a list of labels of at least one class is expected'):
            HideClasses(labels)


def test_seen_and_hidden_classes_have_means_of_their_own():
    metric = HiddenIoUMetric(hidden=[1, 2], iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=NAMES)
    shared, either, predicted, labelled = (
        torch.tensor(part, dtype=torch.float64) for part in ([4, 1, 0, 3], [5, 4, 2, 4], [4, 2, 1, 3], [5, 3, 1, 4])
    )
    found = metric.compute_metrics([(shared, either, predicted, labelled)])
    seen, hidden = 100 * (4 / 5 + 3 / 4) / 2, 100 * (1 / 4 + 0) / 2
    assert found['mIoU_seen'] == pytest.approx(seen, abs=0.01)
    assert found['mIoU_hidden'] == pytest.approx(hidden, abs=0.01)
    assert found['mIoU_H'] == pytest.approx(2 * seen * hidden / (seen + hidden), abs=0.01)
    assert found['mIoU'] == pytest.approx((seen + hidden) / 2, abs=0.01)
    for labels in ([4], [0, 1, 2, 3]):
        metric.hidden = labels
        with pytest.raises(ValueError, match='hidden must be some of the labels 0 to 3'):
            metric.compute_metrics([(shared, either, predicted, labelled)])


def test_a_registry_finds_them():
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert MODELS.get('TextSegHead') is TextSegHead and MODELS.get('TextSETRUPHead') is TextSETRUPHead
