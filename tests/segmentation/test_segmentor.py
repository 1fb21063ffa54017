"""Large photographs row by row: the same as mmseg's own way, which holds everything."""

import pytest
import torch
from mmseg.models import EncoderDecoder, SegTTAModel
from mmseg.structures import SegDataSample
from segruns import built, head

import vptx
from vptx.segmentation import AccumulatingTTAModel

SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(21, 21))


def photograph(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def sample(size: tuple[int, int], **facts) -> SegDataSample:
    return SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, **facts))


def labels(model, image: torch.Tensor, facts: dict | None = None) -> torch.Tensor:
    size = (facts or {}).pop('ori_shape', tuple(image.shape[1:]))
    with torch.no_grad():
        (found,) = model.test_step(dict(inputs=[image], data_samples=[sample(size, **(facts or {}))]))
    return found.pred_sem_seg.data


@pytest.mark.parametrize('size', [(100, 70), (64, 64), (33, 121), (20, 90), (24, 16), (97, 32)])
@pytest.mark.parametrize('stride', [(21, 21), (5, 32), (32, 9)])
def test_streamed_sliding_is_mmsegs_to_the_bit(size, stride):
    model, image = built(test_cfg=dict(SLIDE, stride=stride)), photograph(*size)
    expected = labels(model, image)
    assert len(expected.unique()) > 1
    model.most_logits = 0
    found = labels(model, image)
    assert found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.mark.parametrize('asked', [(150, 203), (40, 90), (70, 61), (2, 7)])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('mode', ['slide', 'whole'])
def test_streamed_to_another_size(asked, align_corners, mode):
    """Interpolated in another order, so equal but where two classes are within rounding of each other."""
    model, image = built(test_cfg=dict(SLIDE, mode=mode)), photograph(72, 90)
    model.align_corners = align_corners
    expected = labels(model, image, dict(ori_shape=asked))
    model.most_logits = 0
    found = labels(model, image, dict(ori_shape=asked))
    assert found.shape == expected.shape == (1, *asked)
    assert (found != expected).float().mean() < 1e-4


def test_streamed_to_so_few_rows_that_windows_are_not_looked_at():
    model, image = built(), photograph(1920, 16)
    expected = labels(model, image, dict(ori_shape=(40, 16)))
    model.most_logits = 0
    assert torch.equal(labels(model, image, dict(ori_shape=(40, 16))), expected)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_streamed_flipped(direction):
    model, image = built(), photograph(61, 70)  # padded to 64 x 72
    expected = labels(model, image, dict(flip=True, flip_direction=direction))
    assert not torch.equal(expected, labels(model, image))
    model.most_logits = 0
    assert torch.equal(labels(model, image, dict(flip=True, flip_direction=direction)), expected)


def test_sliding_is_whole_where_the_window_covers_the_image():
    image = photograph(32, 32)
    for most in (0, 2**26):
        found = [labels(built(test_cfg=config, most_logits=most), image) for config in (SLIDE, dict(mode='whole'))]
        assert torch.equal(*found)


def test_only_large_images_are_streamed(monkeypatch):
    model, image = built(most_logits=4 * 40 * 40), photograph(40, 40)
    samples = [sample((40, 40))]
    assert 'seg_logits' in model.test_step(dict(inputs=[image], data_samples=samples))[0]
    samples = [sample((41, 40))]  # of the photograph, not of what the network sees
    assert 'seg_logits' not in model.test_step(dict(inputs=[image], data_samples=samples))[0]


def test_a_large_photograph_is_never_held_whole(monkeypatch):
    """No tensor of all classes at full size is made on the way."""
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            nonlocal largest
            made = function(*arguments, **(options or {}))
            if isinstance(made, torch.Tensor) and made.dim() == 3 and made.shape[0] == 4:
                largest = max(largest, made.numel())
            return made

    model, image = built(most_logits=0), photograph(640, 64)
    with Watch():
        labels(model, image)
    assert 0 < largest < 4 * 640 * 64 / 5


def test_a_batch_of_large_images():
    model, images = built(), [photograph(50, 40, seed) for seed in (0, 1)]
    expected = [labels(model, image) for image in images]
    model.most_logits = 0
    found = model.test_step(dict(inputs=images, data_samples=[sample((50, 40)) for _ in images]))
    assert all(torch.equal(f.pred_sem_seg.data, e) for f, e in zip(found, expected, strict=True))


def test_training_and_features_are_mmsegs():
    for name in ('loss', 'extract_feat', '_forward', 'encode_decode'):
        assert getattr(type(built()), name) is getattr(EncoderDecoder, name)


def test_prompts_are_removed_from_maps():
    model = built()
    first, second = model.extract_feat(torch.randn(2, 3, 32, 48))
    assert first.shape == second.shape == (2, 24, 4, 6)
    bare = vptx.detach(model).extract_feat(torch.randn(2, 3, 32, 48))
    assert [map.shape for map in bare] == [first.shape, second.shape]


@pytest.mark.parametrize('most', [0, 2**26])
def test_augmented_is_mmsegs(most):
    """One set of logits at a time, the same average."""
    model = built(most_logits=most)
    image, small = photograph(40, 56), photograph(30, 42)
    views = [
        (image, {}),
        (image.flip(2), dict(flip=True, flip_direction='horizontal')),
        (small, {}),
        (small.flip(2), dict(flip=True, flip_direction='horizontal')),
    ]

    def data() -> dict:
        facts = [[sample((40, 56), img_path='a.png', **more)] for _, more in views]
        return dict(inputs=[[view] for view, _ in views], data_samples=facts)

    with torch.no_grad():
        (found,) = AccumulatingTTAModel(model).test_step(data())
        model.most_logits = 2**26
        (expected,) = SegTTAModel(model).test_step(data())
    assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)
    assert found.img_path == 'a.png'


def one_logit(**changes):
    """A head of one logit, whose sigmoid is compared with a threshold."""
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    part = head(in_index=1, num_convs=3, up_scale=2)
    part.update(num_classes=2, out_channels=1, threshold=0.3, loss_decode=loss)
    return built(decode_head=part, auxiliary_head=None, **changes)


@pytest.mark.parametrize('size', [(100, 70), (24, 16), (61, 70)])
def test_one_logit_streamed_is_mmsegs(size):
    model, image = one_logit(), photograph(*size)
    expected = labels(model, image)
    assert set(expected.unique().tolist()) == {0, 1}
    model.most_logits = 0
    found = labels(model, image)
    assert found.dtype == torch.long and torch.equal(found, expected.long())


@pytest.mark.parametrize('most', [0, 2**26])
def test_one_logit_augmented(most):
    """The probabilities of the views, averaged, are compared with the threshold."""
    model = one_logit(most_logits=most)
    image = photograph(40, 56)
    flip = dict(flip=True, flip_direction='horizontal')
    views = [[sample((40, 56), img_path='a.png', **facts)] for facts in ({}, flip)]
    with torch.no_grad():
        (found,) = AccumulatingTTAModel(model).test_step(dict(inputs=[[image], [image.flip(2)]], data_samples=views))
        model.most_logits = 2**26
        each = [
            model.test_step(dict(inputs=[view], data_samples=[sample((40, 56), **facts)]))[0].seg_logits.data
            for view, facts in ((image, {}), (image.flip(2), flip))
        ]
    mean = (each[0] + each[1]) / 2  # mmseg's are probabilities, with the flip undone
    assert 0 < mean.min() and mean.max() < 1
    assert found.pred_sem_seg.data.dtype == torch.long
    assert torch.equal(found.pred_sem_seg.data, (mean > 0.3).long())
    assert set(found.pred_sem_seg.data.unique().tolist()) == {0, 1}


@pytest.mark.parametrize('where', ['decode_head', 'auxiliary_head'])
@pytest.mark.parametrize('index', [23, 2, -3])
def test_a_head_that_asks_for_a_map_too_many_is_named(where, index):
    part = head(in_index=index, num_convs=1, up_scale=4)
    message = rf'{where} has in_index={index}, which counts feature maps from 0, .* number 2: of the layers \[1, 2\]'
    with pytest.raises(ValueError, match=message):
        built(**{where: part if where == 'decode_head' else [part]})
    assert built(decode_head=head(in_index=-1, num_convs=3, up_scale=2))


def test_a_large_image_turned_upside_down_is_refused():
    model, image = built(most_logits=0), photograph(40, 56)
    facts = [[sample((40, 56), img_path='a.png')], [sample((40, 56), flip=True, flip_direction='vertical')]]
    with pytest.raises(ValueError, match=r'a\.png is too large for views that are flipped vertically'):
        AccumulatingTTAModel(model).test_step(dict(inputs=[[image], [image.flip(1)]], data_samples=facts))
