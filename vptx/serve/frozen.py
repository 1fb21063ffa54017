"""The frozen network that all tasks of a bank share: features of a mixed batch, and the files that fit it."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from inspect import signature
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from vptx.arguments import asked, plain
from vptx.attach import attach, detach, find_mapping, find_prompted_network
from vptx.backbones import Net, wrap_backbone
from vptx.binding import release
from vptx.files import parse_safetensors
from vptx.fingerprint import other_weights
from vptx.kept import OUTSIDE, head_names
from vptx.mappings import TextHead
from vptx.mappings.base import LabelMapping
from vptx.prompt_file import check_fit, fill, parse_prompt, pixels_of, readout_name
from vptx.prompted import PromptedNetwork, parts_of
from vptx.prompters import Prompter, StackedPrompter
from vptx.prompters.mixed import MixedPrompter, check_mixed
from vptx.readout import OWN, READS_PROMPTS, Readout
from vptx.registry import MAPPINGS, PROMPTERS
from vptx.serve.segments import Decoder
from vptx.serve.task import Head, Kind, ReadyPrompter, Task, bytes_of, kind_of
from vptx.tensors import check_numbers

__all__ = ['FrozenNetwork']


class FrozenNetwork:
    """A network without prompts, whose features all tasks read.

    Args:
        model: a library's network with a classifier; one that ``vptx.attach`` prompted; or a classifier of
            mmpretrain or a segmentor of mmsegmentation, such as ``vptx.init_model`` gives. It is left as it is, and its
            weights are shared.

    Attributes:
        decoder: of a segmentor; None of a classifier.

    Raises:
        ValueError: a network whose features cannot be read before one linear classifier; a segmentor whose maps have
            norms of their own, or whose head gives its classes by other means than a convolution.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        copy = deepcopy(model, dict(self._weights))
        network, mapping = find_prompted_network(copy), find_mapping(copy)
        self.readout: Readout = OWN
        self.tower = mapping.text.net if isinstance(mapping, TextHead) else None
        if network is not None:
            self.readout = network.readout
            if network.attach_state is not None:
                detach(copy)
            self.net = network.net
        else:
            self.net = wrap_backbone(copy)
        self.net.eval().requires_grad_(False)
        self.decoder = Decoder(copy.eval()) if hasattr(copy, 'decode_head') else None
        self.pixels = pixels_of(model) if network is not None else pixels_of(self._network())
        self._networks: dict[Kind | None, PromptedNetwork] = {}
        self._verified: set[str] = set()
        self._lock = RLock()
        self.width = self._measure()

    @property
    def classifier(self) -> nn.Module | None:
        """The network's own, where features are what goes into it."""
        return self.net.classifier if self.readout == OWN else None

    def _network(self, prompter: Prompter | None = None) -> PromptedNetwork:
        """A prompted network of a copy of the net, with the same weights."""
        net: Net = deepcopy(self.net, dict(self._weights))
        made = PromptedNetwork(net, self.readout).eval().requires_grad_(False)
        if prompter is not None:
            made.set_prompter(prompter)
        return made

    def _measure(self) -> int:
        """D, the width of the features; 0 of a segmentor."""
        name, classifier = self.net.geometry.name, self.classifier
        if self.decoder is not None:
            if self.network_of(None).map_norms:
                raise ValueError(
                    f'the feature maps of {name} have norms that each task trains, which a bank does not mix: '
                    "norm='none' or norm='final' of its readout"
                )
            return 0
        if self.readout == OWN and not isinstance(classifier, nn.Linear):
            raise ValueError(
                f'a bank reads features before one linear classifier, and that of {name} is '
                f"{type(classifier).__name__}: build the network with its classifier, or give it a readout ('cls', say)"
            )
        with torch.no_grad():
            probe = next(self.net.parameters())
            image = probe.new_zeros(1, self.net.geometry.channels, *self.net.geometry.image)
            feature = self._features(self.network_of(None), image, None)
        if feature.dim() != 2 or (classifier is not None and feature.shape[1] != classifier.in_features):
            raise ValueError(
                f'a bank reads one vector of features of an image, and {name} with readout={self.readout!r} gives '
                f"{tuple(feature.shape[1:])}: choose another readout, such as 'cls' or 'mean'"
            )
        return int(feature.shape[1])

    def network_of(self, kind: Kind | None) -> PromptedNetwork:
        """The network for samples of a kind; the bare one for None."""
        with self._lock:
            if kind not in self._networks:
                at_end = str(self.readout) in READS_PROMPTS
                mixed = kind and MixedPrompter(kind.inside, kind.between, kind.whole, at_end)
                made = self._network(mixed)
                if self.readout == OWN and made.net.classifier is not None:
                    made.net.classifier.register_forward_hook(lambda module, inputs, output: inputs[0])
                self._networks[kind] = made
            return self._networks[kind]

    @staticmethod
    def _features(network: PromptedNetwork, images: Tensor, note: Any) -> Tensor:
        found: Any = network(images, note)
        found = getattr(found, 'logits', found)  # an object of transformers
        return parts_of(found)[-1]

    def features(self, images: Tensor, kind: Kind, prompters: Sequence[Prompter | None]) -> Tensor:
        """(B, 3, H, W), and the prompter of each -> (B, D)."""
        return self._features(self.network_of(kind), images, prompters)

    def maps(self, images: Tensor, kind: Kind, prompters: Sequence[Prompter | None]) -> tuple[Tensor, ...]:
        """The same, of a segmentor -> feature maps, as its decode heads take them."""
        return parts_of(self.network_of(kind)(images, prompters))

    # Files

    def load(self, name: str, version: str, content: bytes, where: str) -> Task:
        """The task of a prompt file.

        Args:
            name, version: of the task.
            content: of the file.
            where: it lies, for errors.

        Raises:
            ValueError: begins with ``where``; no prompt file, one of another network or other frozen weights, one that
                trained more than prompts and a head, or one that cannot share a forward with others.
        """
        tensors, facts = parse_prompt(*parse_safetensors(content, where), where)
        if facts['format'] < 2:
            raise ValueError(
                f'{where} is of format 1, which does not say how its prompter was built: load it into its model, and '
                'save that again'
            )
        self._check_use(facts, where)
        mapping = self._mapping(facts, tensors, where)
        model = self._attached(facts, tensors, mapping, where)
        own = head_names(model, tensors) if mapping is None else set()
        whole = mapping is not None or not own
        check_fit(model, tensors, facts, where, head=mapping is not None)
        self._check_frozen(model, facts, where, whole)
        fill(model, tensors, facts, where, head=mapping is not None)
        model.eval()
        head: Head | Decoder
        if self.decoder is not None:
            head = self.decoder.of_task({n.removeprefix(OUTSIDE): tensors[n] for n in own}, where)
        elif mapping is None:
            head = self._own_head({n: tensors[n] for n in own}, where)
        else:
            head = self._mapped(mapping, where)
        return self._ready(model, name, version, head, facts, where)

    def _attached(
        self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor], mapping: LabelMapping | None, where: str
    ) -> PromptedNetwork:
        """The network with a prompter as in a file, and nothing learnt yet."""
        for everywhere in (True, False):
            depth = self.net.geometry.depth if everywhere else 0
            prompter = _build(facts['prompter'], facts['prompter_settings'], tensors, where, depth)
            model = self._network()
            try:
                attach(model, prompter, readout=None if mapping is None else OWN, mapping=mapping)
                check_mixed(prompter)
            except (ValueError, TypeError, RuntimeError) as error:
                raise ValueError(f'{where} does not fit {self.net.geometry.name}: {error}') from error
            # A prompter in all layers may act before and after them, too, or in these alone.
            if len(list(prompter.parameters())) == len(facts['prompts']):
                break
            if mapping is not None:
                release(mapping)
        return model

    def _check_use(self, facts: Mapping[str, Any], where: str) -> None:
        name, geometry = facts['network'], self.net.geometry
        if name != geometry.name:
            raise ValueError(f'{where} belongs to the network {name}, this bank has {geometry.name}')
        if list(facts['image']) != list(geometry.image):
            sizes = [' x '.join(map(str, size)) for size in (facts['image'], geometry.image)]
            raise ValueError(f'{where} is for images of {sizes[0]} px, this bank has {sizes[1]}')
        if facts.get('pixels') and self.pixels and facts['pixels'] != self.pixels:
            raise ValueError(f'{where} is for pixels normalised by {facts["pixels"]}, this bank has {self.pixels}')
        mapped = facts.get('mapping', {}).get('type', 'LabelMapping') != 'LabelMapping'
        here = repr(OWN) if mapped else readout_name(self.network_of(None))
        there = facts.get('readout', here)
        if there != here or (mapped and self.readout != OWN):
            raise ValueError(f'{where} was trained with readout={there}, this bank has readout={here}')

    def _check_frozen(self, model: nn.Module, facts: Mapping[str, Any], where: str, head: bool) -> None:
        """That the file was trained on these weights; each set of fingerprints is compared once."""
        known = json.dumps([facts['fingerprint'], head], sort_keys=True)
        network = find_prompted_network(model)
        assert network is not None
        own = [*network.prompter.frozen_tensors(), *network.mapping.frozen_tensors()]
        if known in self._verified and not own:
            return
        other = other_weights(model, facts, head)
        if other:
            raise ValueError(f'{where} was trained on other frozen weights of {self.net.geometry.name} ({other})')
        if not own:
            self._verified.add(known)

    def _mapping(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> LabelMapping | None:
        """The label mapping or text head that a file was trained with."""
        said = facts.get('mapping', {})
        kind = said.get('type', 'LabelMapping')
        if kind == 'LabelMapping':
            return None
        MAPPINGS.import_from_location()
        found, number = MAPPINGS.module_dict.get(kind), len(facts.get('classes', ()))
        if found is None:
            raise ValueError(f'{where} was trained with the label mapping {kind}, which is not registered here')
        if number < 2:
            raise ValueError(f'{where} names no classes of its {kind}')
        try:
            if not issubclass(found, TextHead):
                return _shaped(found(number), tensors)
            if self.tower is None:
                raise ValueError('this bank has no text tower: build it on a model with a TextHead')
            depth = self.tower.geometry.depth
            words = _build(said['prompter'], said['prompter_settings'], tensors, where, depth)
            options: dict[str, Any] = dict(template=said['templates'], average=said['average'], prompter=words)
            made = found(tower=self.tower, classes=facts['classes'], **options)
            if float(made.scale) != said['scale']:
                made = found(tower=self.tower, classes=facts['classes'], scale=said['scale'], **options)
            return made
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{where}: its {kind} cannot be built here: {error}') from error

    def _own_head(self, tensors: Mapping[str, Tensor], where: str) -> Head:
        """The linear head among the tensors of a file, or the network's own classifier where it trained none."""
        probe = next(self.net.parameters())
        if not tensors:
            if self.classifier is None:
                raise ValueError(f'{where} has no head, and its network no classifier of its own')
            assert isinstance(self.classifier, nn.Linear)
            return _head(self.classifier.weight, self.classifier.bias)
        weights = [name for name in tensors if name.endswith('.weight')]
        prefix = weights[0].removesuffix('weight') if len(weights) == 1 else ''
        weight = tensors.get(f'{prefix}weight')
        bias = tensors.get(f'{prefix}bias')
        rest = [name for name in tensors if name not in (f'{prefix}weight', f'{prefix}bias')]
        if weight is None or weight.dim() != 2 or rest or (bias is not None and bias.shape != weight.shape[:1]):
            shapes = ', '.join(f'{name} {tuple(tensor.shape)}' for name, tensor in list(tensors.items())[:5])
            raise ValueError(f'{where} has a head that is not one linear layer ({shapes}), which is all a bank takes')
        if weight.shape[1] != self.width or not weight.shape[0]:
            raise ValueError(
                f'{where} has a head for features of {weight.shape[1]} numbers, this bank has {self.width}'
            )
        check_numbers(tensors, dict.fromkeys(tensors, probe), where)
        return _head(weight.to(probe), None if bias is None else bias.to(probe))

    @torch.no_grad()
    def _mapped(self, mapping: LabelMapping, where: str) -> Head:
        """What reads the network's own classifier, as one linear map of the features."""
        classifier: Any = self.classifier
        try:
            layer = mapping.as_linear()
        except (ValueError, NotImplementedError) as error:
            raise ValueError(f'{where} cannot be in a bank: {error}') from error
        ahead, own = layer.weight.double(), classifier.weight.double()
        weight = (ahead @ own).to(classifier.weight)
        moved = torch.zeros(len(own)).to(own) if classifier.bias is None else classifier.bias.double()
        bias = (ahead @ moved).to(classifier.weight)
        after = None if layer.bias is None else layer.bias.to(classifier.weight)
        if mapping.unit:
            return Head(weight, bias, True, after)
        return Head(weight, bias if after is None else bias + after)

    def _ready(
        self,
        model: PromptedNetwork,
        name: str,
        version: str,
        head: Head | Decoder,
        facts: Mapping[str, Any],
        where: str,
    ) -> Task:
        kind, prompter = kind_of(model), model.prompter
        language = tuple(part.detach() for part in model.mapping.language())
        ready: dict[int, Any] = {}
        if not kind.memory and prompter.doors:
            try:
                model.fold()
            except ValueError:  # nothing to fold, or prompts that depend on the image
                pass
            else:
                ready = {i: type(r)(*r) for i, r in _folded(model).items()}
                model.unfold()
        prompter.requires_grad_(False)
        own = ReadyPrompter(prompter, ready, language) if prompter.doors else None
        classes = tuple(facts.get('classes') or map(str, range(head.classes)))
        if len(classes) != head.classes:
            raise ValueError(f'{where} has names of {len(classes)} classes, its head has {head.classes}')
        parts = [head] if isinstance(head, Decoder) else [head.weight, head.bias]
        size = bytes_of([own, own and own.rest, *parts])
        return Task(name, version, kind, own, head, classes, facts, size)


def _folded(model: PromptedNetwork) -> dict[int, Any]:
    from vptx.geometry import KeyValue

    return {i: KeyValue(getattr(model, f'key_{i}'), getattr(model, f'value_{i}')) for i in model.folded}


def _head(weight: Tensor, bias: Tensor | None) -> Head:
    weight = weight.detach()
    return Head(weight, weight.new_zeros(len(weight)) if bias is None else bias.detach())


def _safe(kind: str, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings of a file without those that say how numbers begin, which may name files and addresses.

    Raises:
        ValueError: one that is no number, word or list of them, such as the config of a network to build.
    """
    strange = [f'{name}={value!r:.200}' for name, value in settings.items() if name not in plain(settings)]
    if strange:
        raise ValueError(f'{where} says {", ".join(strange)} of its {kind}, which no file of vptx says')
    return {n: v for n, v in settings.items() if n not in PROMPTERS.module_dict[kind].of_training}


def _build(kind: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str, depth: int) -> Prompter:
    """The prompter that a file says, one that is registered here; without a list of layers, where that has all of
    ``depth``."""
    if kind == Prompter.__name__:
        return Prompter()
    if kind == StackedPrompter.__name__:
        parts: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            index, _, option = name.partition('.')
            parts.setdefault(index, {})[option] = value
        return StackedPrompter([_one(part.pop('type', ''), part, tensors, where, depth) for part in parts.values()])
    return _one(kind, settings, tensors, where, depth)


def _one(kind: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str, depth: int) -> Prompter:
    PROMPTERS.import_from_location()
    found = PROMPTERS.module_dict.get(kind)
    if found is None:
        raise ValueError(f'{where} was trained with the prompter {kind}, which is not registered here')
    held = sum(tensor.numel() for tensor in tensors.values())
    numbers = [value for value in settings.values() if isinstance(value, int) and not isinstance(value, bool)]
    if any(abs(number) > held for number in numbers):  # before anything of that size is allocated
        raise ValueError(f'{where} says {settings} of its {kind}, and holds {held} numbers')
    usual = asked(found, Prompter, (), {})
    given = {n: v for n, v in _safe(kind, settings, where).items() if n not in usual or usual[n] != v}
    if 'layers' not in signature(found).parameters or given.get('layers') == list(range(depth)):
        given.pop('layers', None)  # which a file lists in any case
    try:
        return found(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{where}: its {kind} cannot be built: {error}') from error


def _shaped(mapping: LabelMapping, tensors: Mapping[str, Tensor]) -> LabelMapping:
    """The mapping with buffers of the shapes that the file has."""
    for name, buffer in list(mapping.named_buffers()):
        given = tensors.get(f'mapping.{name}')
        if given is not None and given.dim() == buffer.dim() and given.shape[0] == buffer.shape[0]:
            setattr(mapping, name, buffer.new_zeros(given.shape))
    return mapping
