"""Few cases of many, in which everything still meets every kind of everything else; the others are marked slow.

Chosen by a rule, so that what is registered tomorrow is asked from that day on.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable
from functools import cache

import pytest
from networks import NETWORKS, wrapped

from vptx.prompters import Prompter
from vptx.registry import PROMPTERS

#: Swin V2, library and all, has NaN in float16 where windows are padded.
FINITE = [name for name in NETWORKS if 'window does not divide' not in name]


@cache
def ways_in(kind: str | type[Prompter]) -> str:
    """What kind of prompter it is: whether it acts on the image alone, inside layers, as memory, or on tokens."""
    prompter = PROMPTERS.get(kind) if isinstance(kind, str) else kind
    if prompter.doors == {'image'}:
        return 'image'
    if 'inside' in prompter.doors:
        return 'inside'
    return 'memory' if prompter.memory is not Prompter.memory else 'tokens'


@cache
def shape(network: str) -> Hashable:
    """What kind of network it is: the doors that it has, and whether its maps shrink."""
    facts = wrapped(network).geometry
    return facts.doors, len(set(facts.widths)) > 1


def rest_slow(cases: Iterable[tuple], few: Collection[tuple]) -> list:
    """All cases; those that are not among the few are slow."""
    return [pytest.param(*case, marks=[] if case in few else pytest.mark.slow) for case in cases]


def covering(cases: Iterable[tuple], *needs: Callable[..., Hashable]) -> list:
    """All cases; slow are those that are not in a covering set.

    Args:
        cases: The parameters of each.
        needs: Each says what a case answers. Every answer that some case gives is given in the covering set: by
            the case that gives most that are missing, and of those by one whose parts were used least.
    """
    answers = {case: {(i, need(*case)) for i, need in enumerate(needs)} for case in cases}
    missing, few, used = set().union(*answers.values()), set(), Counter()
    while missing:
        best = max(answers, key=lambda case: (len(answers[case] & missing), -sum(used[part] for part in case)))
        few.add(best)
        missing -= answers[best]
        used.update(best)
    return rest_slow(answers, few)


def covering_pairs(pairs: Iterable[tuple[str, str | type[Prompter]]]) -> list:
    """Of networks and prompters: every prompter on each kind of network, every network with each kind of prompter."""
    return covering(
        pairs,
        lambda network, kind: (kind, shape(network)),
        lambda network, kind: (network, ways_in(kind)),
    )


# What a prompter may find in a geometry, beside its doors, that it cannot do with; and how it says so.
REFUSALS = {
    'PadPrompter': (lambda facts: not facts.any_size, 'makes images larger, but .* takes them of 32 x 32 px alone'),
    'ChannelPrompter': (lambda facts: facts.stem is None, 'needs a stem that more channels can be put before'),
    'LoRA': (
        lambda facts: not {'qkv', 'q'} & {site.name for site in facts.sites},
        'LoRA acts on q, qkv, v, and layer 0 of .* calls no such module, only norm1, ',
    ),
    'GatedPrompter': (
        lambda facts: not {'qkv', 'q'} & {site.name for site in facts.sites},
        'GatedPrompter acts on q, qkv, and layer 0 of .* calls no such module, only norm1, ',
    ),
    'Convpass': (
        lambda facts: facts.windowed or not {'attn'} & {site.name for site in facts.sites},
        'Convpass convolves what goes into attention as one map|Convpass acts on attn, ',
    ),
}


def refusal(network: str, kind: str | type[Prompter]) -> str | None:
    """What the error must say where the two do not go together; None where they must."""
    facts = wrapped(network).geometry
    if not (PROMPTERS.get(kind) if isinstance(kind, str) else kind).doors <= facts.doors:
        return 'enters by .*, but .* has no door .*, only '
    refuses, message = REFUSALS.get(kind, (lambda facts: False, ''))
    return message if refuses(facts) else None


@cache
def layer_kind(network: str) -> Hashable:
    """How its layers are made: the modules of the first one with their types, or the net where prompts reach none."""
    net = wrapped(network)
    if not net.geometry.depth:
        return type(net)
    return frozenset((name, type(module)) for name, module in net.module_of(0).named_modules())


def few_pairs(networks: Iterable[str], kinds: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs in which every prompter is on some network, and networks of each kind of layer have a prompter that enters
    as memory, where they can, and one that does not."""
    pairs = [(network, kind) for network in networks for kind in kinds if refusal(network, kind) is None]
    chosen = covering(
        pairs,
        lambda network, kind: kind,
        lambda network, kind: (layer_kind(network), ways_in(kind) == 'memory'),
    )
    return [case.values for case in chosen if not case.marks]
