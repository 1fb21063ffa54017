"""What each label mapping computes; the same questions to all, found in the registry."""

from copy import deepcopy
from itertools import permutations

import numpy as np
import pytest
import torch
from mmpretrain.models import ImageClassifier
from networks import BACKBONES, CLASSES, NETWORKS, class_mappings, images, tiny

import vptx
from vptx.backbones import wrap_backbone
from vptx.hooks.label_mapping_hook import mapping_table
from vptx.mappings import BayesianMapping, CountedMapping, FrequencyMapping, IndexMapping, RandomMapping
from vptx.mappings.frequency import ASSIGNMENTS, greedy, hungarian
from vptx.prompted import PromptedBackbone
from vptx.registry import MAPPINGS, build

MAPPINGS.import_from_location()
KINDS = class_mappings()
TARGETS = 3
every_mapping = pytest.mark.parametrize('kind', KINDS)


def mapped(kind, network='plain', seed=0, **options):
    """The network with the mapping, estimated where that is needed, in eval mode."""
    torch.manual_seed(seed)
    model = vptx.attach(tiny(network), mapping=dict(type=kind, num_classes=TARGETS, **options)).eval()
    if isinstance(model.mapping, CountedMapping):
        vptx.estimate_mapping(model, [(images(12, seed=seed + 1), torch.arange(12) % TARGETS)])
    return model


@pytest.mark.parametrize(
    ('network', 'kind'), [('plain', kind) for kind in KINDS] + [(name, 'BayesianMapping') for name in NETWORKS]
)
@torch.no_grad()
def test_target_logits_are_source_logits_times_the_matrix(network, kind):
    model, image = mapped(kind, network), images(4)
    logits = tiny(network)(image)
    torch.testing.assert_close(model.forward_unmapped(image), logits)
    matrix = model.mapping.matrix()
    assert matrix.shape == (CLASSES, TARGETS)
    bias = getattr(getattr(model.mapping, 'linear', None), 'bias', 0)
    torch.testing.assert_close(model(image), logits @ matrix + bias)


@every_mapping
def test_what_trains_of_a_mapping(kind):
    model = mapped(kind)
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    learnt = {name for name, _ in model.named_parameters() if name.startswith('mapping.')}
    assert trains == learnt
    if learnt:
        model(images()).sum().backward()
        assert all(p.grad.any() for p in model.mapping.parameters())


@every_mapping
def test_a_mapping_is_saved_with_the_prompt_and_needs_no_images(kind, tmp_path):
    model, image = mapped(kind), images(4)
    vptx.save_prompt(model, tmp_path / 'p.safetensors')
    fresh = vptx.attach(tiny(), mapping=dict(type=kind, num_classes=TARGETS)).eval()
    vptx.load_prompt(fresh, tmp_path / 'p.safetensors')
    assert torch.equal(fresh(image), model(image))
    assert torch.equal(deepcopy(fresh)(image), model(image))


@every_mapping
def test_detach_takes_the_mapping_out(kind):
    assert torch.equal(vptx.detach(mapped(kind))(images()), tiny()(images()))


@every_mapping
def test_under_a_head_that_adds_nothing(kind):
    prompted = PromptedBackbone(wrap_backbone(tiny()))
    model = vptx.attach(
        ImageClassifier(prompted, head=dict(type='ClsHead')), mapping=dict(type=kind, num_classes=TARGETS)
    ).eval()
    if isinstance(prompted.mapping, CountedMapping):
        vptx.estimate_mapping(model, [(images(6), torch.arange(6) % TARGETS)])
    assert model(images(2), mode='tensor').shape == (2, TARGETS)


@every_mapping
def test_it_reads_logits_and_nothing_else(kind):
    config = dict(type=kind, num_classes=TARGETS)
    with pytest.raises(ValueError, match=f"{kind} reads the network's own logits, readout='logits', not 'cls'"):
        vptx.attach(tiny(), mapping=config, readout='cls')
    headless = tiny()
    headless.reset_classifier(0)
    with pytest.raises(ValueError, match='was built without its classifier: num_classes=1000'):
        vptx.attach(headless, mapping=config)
    backbone = ImageClassifier(PromptedBackbone(wrap_backbone(tiny(next(iter(BACKBONES))))), head=dict(type='ClsHead'))
    with pytest.raises(ValueError, match='was built without its classifier'):
        vptx.attach(backbone, mapping=config)


@every_mapping
@pytest.mark.parametrize('number', [0, 1, '3'])
def test_a_number_of_classes_that_is_none(kind, number):
    with pytest.raises(ValueError, match='num_classes must be a whole number of at least 2'):
        build(MAPPINGS, dict(type=kind, num_classes=number))


@pytest.mark.parametrize('kind', ['RandomMapping', 'FrequencyMapping', 'IterativeMapping'])
def test_one_to_one_needs_enough_source_classes(kind):
    with pytest.raises(ValueError, match='the network has 7 alone: use BayesianMapping or FullyConnectedMapping'):
        vptx.attach(tiny(), mapping=dict(type=kind, num_classes=CLASSES + 1))
    vptx.attach(tiny(), mapping=dict(type='BayesianMapping', num_classes=CLASSES + 1))


# Index, random


def test_the_first_classes_or_those_that_are_named():
    logits = torch.randn(2, 5)
    for sources, expected in [
        (None, logits[:, :3]),
        ([4, 0, 2], logits[:, [4, 0, 2]]),
        ([[0, 1], [1, 2], [3, 4]], torch.stack([logits[:, [a, b]].mean(1) for a, b in ((0, 1), (1, 2), (3, 4))], 1)),
    ]:
        mapping = IndexMapping(3, sources)
        mapping.bind(5)
        assert torch.equal(mapping(logits), expected)
    with pytest.raises(ValueError, match='sources must be 3 indices, or 3 lists'):
        IndexMapping(3, [1, 2])
    with pytest.raises(ValueError, match='sources must be 3 indices, or 3 lists'):
        IndexMapping(3, [[1], [2, 3], [4]])
    with pytest.raises(ValueError, match='names source classes from 0 to 5, but the network has those from 0 to 4'):
        IndexMapping(3, [0, 1, 5]).bind(5)


def test_random_sources_differ_from_each_other_and_from_seed_to_seed():
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        mapping = RandomMapping(10, per_class=3)
        mapping.bind(40)
        assert len(set(mapping.sources.flatten().tolist())) == 30
        drawn.append(mapping.sources)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


# Frequency


def test_greedy_and_hungarian_on_a_table_worked_out_by_hand():
    counts = np.array([[5, 4], [6, 0], [0, 1]])
    assert greedy(counts, 1).tolist() == [[1], [0]]
    assert hungarian(counts, 1).tolist() == [[1], [0]]
    # The largest count first is not the largest sum.
    counts = np.array([[9, 8], [8, 0], [0, 1]])
    assert greedy(counts, 1).tolist() == [[0], [2]]
    assert hungarian(counts, 1).tolist() == [[1], [0]]


@pytest.mark.parametrize('assign', ASSIGNMENTS)
@pytest.mark.parametrize('per_class', [1, 2])
def test_every_source_serves_one_target_even_one_that_was_never_seen(assign, per_class):
    counts = np.random.default_rng(0).integers(0, 4, (9, 4))
    counts[:, 2] = 0
    sources = ASSIGNMENTS[assign](counts, per_class)
    assert sources.shape == (4, per_class) and len(set(sources.flatten())) == sources.size
    assert sources.min() >= 0


def test_greedy_is_the_published_loop_and_ties_go_to_the_lowest_source():
    rng = np.random.default_rng(1)
    for _ in range(20):
        counts = rng.integers(0, 3, (8, 3)).astype(float)
        left, found = counts.copy(), [[] for _ in range(3)]
        for _ in range(6):
            source, target = np.unravel_index(left.argmax(), left.shape)
            found[target].append(source)
            left[source] = -1
            if len(found[target]) == 2:
                left[:, target] = -1
        assert greedy(counts, 2).tolist() == found


def test_hungarian_has_the_largest_sum():
    rng = np.random.default_rng(2)
    for _ in range(10):
        counts = rng.integers(0, 9, (5, 3))
        best = max(sum(counts[s, t] for t, s in enumerate(chosen)) for chosen in permutations(range(5), 3))
        assert sum(counts[s, t] for t, (s,) in enumerate(hungarian(counts, 1))) == best


def test_counts_are_what_images_of_a_class_are_taken_for():
    mapping = FrequencyMapping(2)
    mapping.bind(3)
    logits = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 2, 1]])
    hard = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 0]))
    assert mapping.count(logits, hard).tolist() == [[1, 0], [1, 0], [0, 2]]
    # A mixed image counts for both of its classes.
    assert mapping.count(logits[:1], torch.tensor([[0.75, 0.25]])).tolist() == [[0.75, 0.25], [0, 0], [0, 0]]


def test_frequency_reads_the_prompted_network():
    """What is counted is what the network says of prompted images."""
    torch.manual_seed(0)
    model = vptx.attach(
        tiny(), dict(type='ShallowPrompter', num_tokens=3), mapping=dict(type='FrequencyMapping', num_classes=2)
    ).eval()
    with torch.no_grad():
        model.prompter.embedding.rows[0].normal_(std=3)
    image, labels = images(40), torch.arange(40) % 2
    counts = np.zeros((CLASSES, 2))
    for source, label in zip(model.forward_unmapped(image).argmax(1), labels):
        counts[source, label] += 1
    vptx.estimate_mapping(model, [(image[:25], labels[:25]), (image[25:], labels[25:])])
    assert model.mapping.sources.tolist() == greedy(counts, 1).tolist()
    assert not torch.equal(model.forward_unmapped(image).argmax(1), tiny()(image).argmax(1))


def test_not_estimated():
    model = vptx.attach(tiny(), mapping=dict(type='FrequencyMapping', num_classes=2))
    with pytest.raises(RuntimeError, match=r'FrequencyMapping is estimated from .*, and has not been estimated yet'):
        model(images())
    with pytest.raises(ValueError, match='from training images, and there are none'):
        vptx.estimate_mapping(model, [])
    with pytest.raises(ValueError, match='has no label mapping that is estimated'):
        vptx.estimate_mapping(tiny(), [])
    with pytest.raises(ValueError, match="assign must be one of greedy, hungarian, not 'best'"):
        FrequencyMapping(3, assign='best')
    with pytest.raises(ValueError, match='every must be a whole number of epochs'):
        FrequencyMapping(3, every=-1)


# Bayesian


def test_bayesian_is_the_equation():
    counts = torch.tensor([[3.0, 1], [0, 4], [0, 0]]).double()
    mapping = BayesianMapping(2, smoothing=2.0)
    mapping.bind(3)
    mapping.estimate(counts)
    share = [[3 / 6, 1 / 6], [0, 4 / 6], [0, 0]]
    expected = torch.tensor([[row[t] / sum(r[t] for r in share) for t in range(2)] for row in share])
    torch.testing.assert_close(mapping.weight, expected)
    with pytest.raises(ValueError, match='must be positive'):
        BayesianMapping(2, smoothing=0)


def test_a_class_without_images_is_the_average_of_all_sources():
    mapping = BayesianMapping(2)
    mapping.bind(4)
    mapping.estimate(torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 0]]).double())
    logits = torch.randn(3, 4)
    torch.testing.assert_close(mapping(logits), torch.stack([logits[:, 0], logits.mean(1)], 1))


def test_bayesian_plus_adds_up_the_likeliest_probabilities():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    for top, kept in [(0.15, 1), (0.5, 2), (0.8, 3)]:  # shares of four classes, rounded down, at least one
        mapping = BayesianMapping(4, top=top)
        mapping.bind(4)
        expected = [p if i < kept else 0 for i, p in enumerate((0.5, 0.3, 0.15, 0.05))]
        assert mapping.votes(logits)[0].tolist() == pytest.approx(expected)


# Looked at


def test_the_table_names_classes():
    mapping = IndexMapping(3, [2, 0, 1])
    mapping.bind(3)
    assert mapping_table(mapping, ['a', 'b', 'c'], ['x', 'y', 'z']) == '  a <- z\n  b <- x\n  c <- y'
    assert mapping_table(mapping, most=1) == '  0 <- 2\n  and 2 more'
    bayesian = BayesianMapping(2)
    bayesian.bind(4)
    bayesian.estimate(torch.tensor([[3.0, 0], [3, 0], [0, 5], [1, 1]]).double())
    assert mapping_table(bayesian) == '  0 <- 0 (0.41), 1 (0.41), 3 (0.18)\n  1 <- 2 (0.71), 3 (0.29)'


def test_names_of_the_sources_are_known_for_imagenet():
    import timm

    net = wrap_backbone(timm.create_model('resnet10t'))
    assert net.class_names[0].startswith('tench') and len(net.class_names) == 1000
    assert wrap_backbone(tiny()).class_names == ()
