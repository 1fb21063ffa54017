"""Prompts on the image: their counts, where they are, in what numbers, and what they leave alone."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from networks import SIZE, classifier, images, tiny, wrapped

import vptx
from vptx.prompters import (
    BorderPrompter,
    DeepPrompter,
    LowRankPrompter,
    PatchPrompter,
    PixelPrompter,
    ReprogramPrompter,
    SampleMaskPrompter,
    ScalePrompter,
)
from vptx.prompters.image import embed_small
from vptx.prompters.pixels import convert_lr
from vptx.prompters.scale import zoom

CLIP = dict(mean=(0.481, 0.458, 0.408), std=(0.269, 0.261, 0.276))


def bound(prompter, size=(SIZE, SIZE), **changes):
    facts = dict(image=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)) | changes
    prompter.bind(replace(wrapped('ResNet').geometry, **facts))
    return prompter.train()


def counted(prompter):
    return sum(parameter.numel() for parameter in prompter.parameters())


def normalised(pixels, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)):
    """Pixels in [0, 1] (..., 3, H, W) as the network sees them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (pixels - mean) / std


# Counts, and what zero is


@pytest.mark.parametrize(
    ('prompter', 'count'),
    [
        (BorderPrompter(30), 69_840),  # Bahng et al.
        (PatchPrompter(30), 2_700),
        (LowRankPrompter(4), 5_376),  # LoR-VP
        (PixelPrompter(), 150_528),
        (ReprogramPrompter(164), 69_840),  # EVP: the same frame
        (ReprogramPrompter(128), 3 * (224**2 - 128**2)),  # ILM-VP
        (ScalePrompter(128), 150_529),
        (SampleMaskPrompter(5), 150_528 + 26_499),
        (SampleMaskPrompter(6, norm='batch'), 150_528 + 102_339),
    ],
)
def test_as_many_numbers_as_published(prompter, count):
    assert counted(bound(prompter, (224, 224))) == count


ZERO = [
    BorderPrompter(4, init='zero'),
    BorderPrompter(4, init='zero', space='unit', bound='tanh'),
    PatchPrompter(6, init='zero', random=True),
    LowRankPrompter(4),
    PixelPrompter(space='symmetric'),
    SampleMaskPrompter(),
]


@pytest.mark.parametrize('network', ['plain', 'ResNet', 'ConvNeXt'])
@pytest.mark.parametrize('prompter', ZERO, ids=lambda prompter: type(prompter).__name__)
@torch.no_grad()
def test_a_prompt_of_zero_leaves_logits_bit_equal(network, prompter):
    image = images(2)
    assert torch.equal(vptx.attach(tiny(network), prompter).train()(image), tiny(network)(image))


# Where


def test_a_border_leaves_the_centre_alone():
    prompter, image = bound(BorderPrompter(30), (224, 224)), images(2, (224, 224))
    prompted = prompter.image(image)
    changed = (prompted != image).any(dim=0).any(dim=0)
    assert torch.equal(prompted[:, :, 30:-30, 30:-30], image[:, :, 30:-30, 30:-30])
    assert changed[30:-30, 30:-30].sum() == 0 and changed.sum() == 224**2 - 164**2
    learnt = torch.cat([prompter.rows.flatten(), prompter.columns.flatten()])
    assert (prompted - image)[0][:, changed].sum().item() == pytest.approx(learnt.sum().item(), abs=0.1)


def test_a_bounded_frame_adds_exactly_nothing_in_its_hole():
    prompter = bound(ReprogramPrompter(15, space='unit', bound='sigmoid'))  # an odd hole: one more at the top
    image = images(2, (15, 15))
    placed = prompter.image(image)
    assert torch.equal(placed[:, :, 9:24, 9:24], image)
    frame = torch.ones(SIZE, SIZE, dtype=bool)
    frame[9:24, 9:24] = False
    grey = normalised(torch.full((3, SIZE, SIZE), 0.5))
    torch.testing.assert_close(placed[0][:, frame], grey[:, frame])


@pytest.mark.parametrize(('space', 'zero'), [('unit', 0.0), ('symmetric', 0.5)])
def test_what_is_behind_a_small_image(space, zero):
    placed = bound(ReprogramPrompter(16, space=space)).image(images(1, (16, 16)))
    torch.testing.assert_close(placed[0, :, 0], normalised(torch.full((3, 1, SIZE), zero))[:, 0])


def test_elsayeds_frame_worked_out():
    """tanh(W) in the range of pixels [-1, 1], as for a network of mean and deviation 0.5."""
    half = dict(mean=(0.5,) * 3, std=(0.5,) * 3)
    prompter = bound(ReprogramPrompter(16, init='gaussian'), **half)
    image = images(2, (16, 16))
    weights = torch.zeros(3, SIZE, SIZE)
    weights[:, :8], weights[:, 24:] = prompter.rows.detach().chunk(2, dim=1)
    weights[:, 8:24, :8], weights[:, 8:24, 24:] = prompter.columns.detach().chunk(2, dim=2)
    torch.testing.assert_close(prompter.image(image), F.pad(image, (8, 8, 8, 8)) + weights.tanh())


def test_an_image_of_another_size_is_made_small():
    prompter, image = bound(ReprogramPrompter(16)), images(1, (48, 40))
    small = F.interpolate(image, (16, 16), mode='bilinear', antialias=True)
    assert torch.equal(prompter.image(image)[:, :, 8:24, 8:24], small)


def test_random_patches_reach_every_position_sample_by_sample_and_rest_at_evaluation():
    prompter = bound(PatchPrompter(3, position=(1, -3), random=True), size=(5, 6))
    canvas = torch.zeros(400, 3, 5, 6)
    torch.manual_seed(0)
    prompted = prompter.image(canvas)
    found = set()
    for sample in prompted.detach():
        rows, columns = sample.any(0).any(1).nonzero().flatten(), sample.any(0).any(0).nonzero().flatten()
        top, left = rows[0].item(), columns[0].item()
        assert torch.equal(sample[:, top : top + 3, left : left + 3], prompter.delta.detach())
        assert sample.count_nonzero() == 27
        found.add((top, left))
    assert found == {(top, left) for top in range(3) for left in range(4)}
    torch.manual_seed(0)
    assert torch.equal(prompter.image(canvas), prompted)
    assert not torch.equal(prompter.image(canvas), prompted)
    still = prompter.eval().image(canvas[:2])
    assert torch.equal(still[0, :, 1:4, 3:6], prompter.delta) and torch.equal(still[0], still[1])


def test_low_rank_is_of_low_rank_and_before_normalisation():
    prompter = bound(LowRankPrompter(2))
    with torch.no_grad():
        prompter.left.normal_()
    pixels = torch.rand(1, 3, SIZE, SIZE)
    added = prompter.left @ prompter.right
    assert (torch.linalg.matrix_rank(added) == 2).all()
    torch.testing.assert_close(prompter.image(normalised(pixels)), normalised(pixels + added))


# Valid pixels, and what is under a prompt


def test_clamped_images_are_pixels_in_any_space():
    pixels = torch.rand(2, 3, SIZE, SIZE)
    for space, unit in (('unit', 1.0), ('symmetric', 2.0)):
        prompter = bound(PixelPrompter(space=space, bound='clamp'))
        assert torch.equal(prompter.image(normalised(pixels)), normalised(pixels))
        added = 0.5 * torch.randn(3, SIZE, SIZE)
        with torch.no_grad():
            prompter.delta.copy_(unit * added)
        prompted = prompter.image(normalised(pixels))
        torch.testing.assert_close(prompted, normalised((pixels + added).clamp(0, 1)))
        prompted.sum().backward()  # pixels that are cut off in all images learn nothing
        cut = ((pixels + added < 0) | (pixels + added > 1)).all(0)
        assert cut.any() and torch.equal(prompter.delta.grad == 0, cut)
    with pytest.raises(ValueError, match='need the mean'):
        bound(BorderPrompter(4, bound='clamp'), mean=(), std=())


def test_a_border_in_place_of_what_is_under_it():
    image = images(2)
    prompter = bound(BorderPrompter(4, compose='replace', space='unit', bound='sigmoid'))
    covered, frame = prompter.image(image), torch.ones(SIZE, SIZE, dtype=bool)
    frame[4:-4, 4:-4] = False
    assert torch.equal(covered[..., ~frame], image[..., ~frame])
    nothing = prompter.image(torch.zeros_like(image))
    assert torch.equal(covered[..., frame], nothing[..., frame])
    torch.testing.assert_close(covered[0, :, :4], normalised(prompter.rows[:, :4].sigmoid()))
    assert counted(prompter) == counted(bound(BorderPrompter(4)))


def test_random_patches_in_place_of_what_is_under_them():
    prompter, image = bound(PatchPrompter(6, random=True, compose='replace')), images(4)
    prompted = prompter.image(image)
    changed = (prompted != image).all(1)
    assert [place.sum() for place in changed] == [36] * 4
    for sample, place in zip(prompted, changed):
        assert torch.equal(sample[:, place].unflatten(1, (6, 6)), prompter.delta)


# Scale and masks


def test_the_scale_zooms_the_image_and_opens_the_hole():
    prompter, image = bound(ScalePrompter(16)), images(2, (16, 16))
    as_reprogrammed = bound(ReprogramPrompter(16, space='unit', bound='sigmoid')).image(image)
    torch.testing.assert_close(prompter.image(image), as_reprogrammed, atol=1e-4, rtol=1e-4)
    for scale, side in ((0.5, 8), (1.53, 24), (9.0, SIZE)):
        with torch.no_grad():
            prompter.zoom.fill_(scale)
        mask = prompter.mask()
        assert (mask == 0).sum() == side**2
        top = (SIZE - side + 1) // 2
        assert not mask[top : top + side, top : top + side].any()
    with torch.no_grad():
        prompter.zoom.fill_(0.5)  # half of it: every pixel the average of four
    placed = prompter.place(torch.ones(1, 3, 16, 16))
    assert placed[0, 0, 13:19, 13:19].allclose(torch.ones(6, 6))
    prompter.image(image).sum().backward()
    assert prompter.zoom.grad.abs() > 0


@pytest.mark.parametrize('scale', [0.3, 0.77, 1.0, 1.37, 4.7])
def test_the_zoom_is_that_of_grid_sample(scale):
    """In its gradients too, of the image and of the zoom."""
    image = torch.randn(2, 3, 9, 12, dtype=torch.float64, requires_grad=True)
    inverse = torch.tensor(1 / scale, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros_like(inverse)
    theta = torch.stack([inverse, zero, zero, zero, inverse, zero]).view(1, 2, 3).expand(2, -1, -1)
    grid = F.affine_grid(theta, [2, 3, 9, 12], align_corners=False)
    expected = F.grid_sample(image, grid, align_corners=False)
    found = zoom(zoom(image, inverse, 2), inverse, 3)
    torch.testing.assert_close(found, expected)
    if scale == 1:  # every pixel is where the slope of the zoom changes: it has one to either side
        assert torch.equal(found, image)
        return
    probe = torch.randn_like(found)
    both = [torch.autograd.grad((output * probe).sum(), (image, inverse)) for output in (found, expected)]
    torch.testing.assert_close(*both, rtol=1e-9, atol=1e-9)


def test_masks_are_of_each_sample_and_of_eight_pixels():
    prompter = bound(SampleMaskPrompter())
    with torch.no_grad():
        prompter.delta.fill_(1)
    image = images(3)
    mask = prompter.image(image) - image
    assert not torch.allclose(mask[0], mask[1], atol=1e-4)
    blocks = F.avg_pool2d(mask, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(mask, blocks, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mask, prompter.network(image).repeat_interleave(8, 2).repeat_interleave(8, 3))


# Spaces


@torch.no_grad()
def test_a_prompt_is_the_same_in_every_space():
    pixels = 0.1 * torch.randn(3, SIZE, SIZE)
    std = torch.tensor((0.2, 0.25, 0.3))[:, None, None]
    prompted = []
    for space, numbers in (('unit', pixels), ('normalised', pixels / std), ('symmetric', 2 * pixels)):
        prompter = bound(PixelPrompter(space=space))
        prompter.delta.copy_(numbers)
        prompted.append(prompter.image(images(2)))
    for other in prompted[1:]:
        torch.testing.assert_close(other, prompted[0])


@pytest.mark.parametrize(('optimizer', 'power', 'lr'), [(torch.optim.SGD, 2, 300.0), (torch.optim.Adam, 1, 0.1)])
def test_a_learning_rate_is_converted(optimizer, power, lr):
    """Two spaces, the same steps: channels of one standard deviation."""
    facts = dict(mean=(0.4,) * 3, std=(0.25,) * 3)
    ends = []
    for space in ('normalised', 'unit'):
        prompter = bound(PixelPrompter(space=space), **facts)
        geometry = replace(wrapped('ResNet').geometry, **facts)
        rate = convert_lr(lr, 'normalised', space, geometry, power)
        steps = optimizer(prompter.parameters(), lr=rate, **({'eps': 1e-20} if power == 1 else {}))
        for _ in range(3):
            steps.zero_grad()
            (prompter.image(images(2)) - 1).square().mean().backward()
            steps.step()
        ends.append(prompter.image(images(2)))
    assert not torch.allclose(ends[0], images(2), atol=1e-2)
    torch.testing.assert_close(*ends)


def test_bahngs_rate_in_the_space_of_pixels():
    geometry = replace(wrapped('ResNet').geometry, **CLIP)
    assert convert_lr(40, 'normalised', 'unit', geometry) == pytest.approx(2.9, abs=0.05)


def test_a_network_whose_pixels_nobody_knows():
    assert bound(BorderPrompter(4), mean=(), std=()).image(images()).shape == (2, 3, SIZE, SIZE)
    with pytest.raises(ValueError, match=r"spaces other than 'normalised' need the mean"):
        bound(LowRankPrompter(), mean=(), std=())


# Stacked


@pytest.mark.parametrize('network', ['plain', 'swin'])
@torch.no_grad()
def test_a_stack_is_one_after_the_other(network):
    border, deep = BorderPrompter(4), DeepPrompter(2)
    model, image = vptx.attach(tiny(network), [border, deep]).eval(), images(2)
    assert [type(prompter).__name__ for prompter in model.prompter.prompters] == ['BorderPrompter', 'DeepPrompter']
    alone = vptx.attach(tiny(network), deepcopy(deep)).eval()
    assert torch.equal(model(image), alone(border.image(image)))
    assert not torch.equal(model(image), alone(image))


def test_a_stack_with_a_norm_inside_and_a_head():
    model = vptx.attach(tiny(), [dict(type='LowRankPrompter'), dict(type='LoRA')], tune=[classifier('plain')])
    model(images()).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.prompter.uses == {'image', 'inside'}


def test_what_cannot_be_stacked():
    with pytest.raises(ValueError, match='one may add tokens, not ShallowPrompter and ShallowPrompter, with vit_base'):
        vptx.attach(tiny(), [dict(type='ShallowPrompter'), dict(type='ShallowPrompter')])
    with pytest.raises(ValueError, match='takes one prompter or more'):
        vptx.attach(tiny(), [])
    wide = dict(type='ChannelPrompter')
    with pytest.raises(ValueError, match='is the last one of a stack'):
        vptx.attach(tiny(), [wide, dict(type='PixelPrompter')])
    assert vptx.attach(tiny(), [dict(type='PixelPrompter'), wide])(images()).shape == (2, 7)


# Refused


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: BorderPrompter(0), 'width must be a whole number of at least 1, not 0'),
        (lambda: bound(BorderPrompter(16)), 'borders of 16 px leave nothing of the images of 32 x 32 px'),
        (lambda: bound(ReprogramPrompter(32)), 'side=32 leaves no space around the image'),
        (lambda: ReprogramPrompter('8'), "side must be a whole number of at least 1, not '8'"),
        (lambda: bound(PatchPrompter(6, (28, 0))), r'a patch of 6 x 6 px at \(28, 0\) is not on an image of 32 x 32'),
        (lambda: PatchPrompter(-1), 'size must be a whole number'),
        (lambda: LowRankPrompter(0), 'rank must be a whole number'),
        (lambda: SampleMaskPrompter(3), 'layers must be a whole number of at least 4'),
        (lambda: SampleMaskPrompter(norm='layer'), "norm must be one of 'group', 'batch', not 'layer'"),
        (lambda: PixelPrompter(space='rgb'), "space must be one of 'normalised', 'unit', 'symmetric', not 'rgb'"),
        (lambda: PixelPrompter(bound='clip'), "bound must be one of 'none', 'tanh', 'sigmoid', 'clamp', not 'clip'"),
        (lambda: BorderPrompter(compose='over'), "compose must be one of 'add', 'replace', not 'over'"),
        (lambda: PatchPrompter(compose='over'), "compose must be one of 'add', 'replace', not 'over'"),
        (lambda: PixelPrompter(init='one'), "init must be one of 'zero', 'gaussian', 'normalised', not 'one'"),
    ],
)
def test_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_everything_is_learnt_on_any_network():
    for prompter in (ReprogramPrompter(16), SampleMaskPrompter(norm='batch')):
        model = vptx.attach(tiny('ResNet'), prompter).train()
        before = deepcopy(model.net.state_dict())
        model(images(4)).square().sum().backward()
        assert all(isinstance(p.grad, torch.Tensor) for p in model.prompter.parameters())
        assert all(p.grad is None for p in model.net.parameters())
        assert any('running_mean' in name for name in before)
        assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())


@pytest.mark.parametrize('size', [(16, 16), (9, 23), (5, 40)])
def test_a_small_image_is_resized_as_torch_does_it(size):
    """In a graph that other runtimes read as torch does: OpenVINO leaves out the averaging of ONNX's Resize."""

    class Small(torch.nn.Module):
        def forward(self, image):
            return embed_small(image, 12, (20, 20), torch.zeros(3, 1, 1, dtype=image.dtype))

    image = torch.rand(2, 3, *size, dtype=torch.float64)
    placed = Small()(image)
    expected = F.interpolate(image, (12, 12), mode='bilinear', antialias=True)
    assert torch.equal(placed[..., 4:16, 4:16], expected)
    exported = torch.export.export(Small(), (image,))
    assert torch.allclose(exported.module()(image), placed, atol=1e-12)
    assert 'upsample' not in str(exported.graph)
