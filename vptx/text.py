"""Features of class names: the forward of a frozen text tower, with a prompter.

    names -> sentences -> word vectors -> [prompter] -> causal layers with [prompter] -> row of EOT -> Z (C, d)

Three things make it cheap and change no number beyond rounding, because attention is causal.

* Rows before the first difference between the sentences are the same for all classes. They run once, and the rest
  of each sentence attends to them as a memory, layer by layer.
* Rows after the end of a text (EOT) are never seen: sentences are filled up to the longest of a few alike, not to the
  tower's context. In the last layer the row of EOT alone is computed.
* Where nothing on the text side trains, the features are computed once.

Many classes are computed in parts, whose activations are computed again in the backward pass.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vptx.backbones.memory import KeyValue
from vptx.backbones.open_clip_text import OpenCLIPText, TextContext
from vptx.binding import bind
from vptx.geometry import At, Site, join_memories
from vptx.layers import OUTSIDE, PromptedLayers, stamp
from vptx.prompters.base import Prompter
from vptx.prompters.stack import StackedPrompter
from vptx.registry import PROMPTERS, TEXT_TOWERS, build

__all__ = ['AVERAGES', 'PromptedText', 'Sentences', 'check_average', 'check_names', 'check_templates']

#: How the features of several templates become one: of normalised ones, or of them as they are.
AVERAGES = ('normalised', 'raw')
#: How many rows are computed at a time; of a tower of ViT-B/16's shape each keeps about a third of a megabyte.
ROWS = 4096
#: Whose forward calls the modules of a tower.
_running: ContextVar[Any] = ContextVar('running', default=None)


class Sentences(NamedTuple):
    """Texts of all classes by one template.

    Attributes:
        ids: (C, T), filled up with zeros.
        last: the row of EOT (C,).
        slots: the rows that a prompter's vectors stand in (C, M).
        shared: S, how many rows are the same for all classes.
    """

    ids: Tensor
    last: Tensor
    slots: Tensor
    shared: int


def check_names(classes: Any) -> tuple[str, ...]:
    """Class names, with spaces for underscores.

    Raises:
        ValueError: no list of names, an empty one, or a name that is none.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not classes:
        raise ValueError(f'classes must be a list of at least one class name, not {classes!r}')
    bad = [name for name in classes if not isinstance(name, str) or not name.strip()]
    if bad:
        raise ValueError(f'classes must be a list of class names; {bad[0]!r} is none')
    names = tuple(name.replace('_', ' ') for name in classes)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        more = f' and {len(twice) - 5} more' if len(twice) > 5 else ''
        print_log(
            f'equal class names, which get equal scores: {", ".join(twice[:5])}{more}', 'current', logging.WARNING
        )
    return names


def check_average(average: str) -> str:
    """``average``, or a ValueError that says what it must be."""
    if average not in AVERAGES:
        raise ValueError(f'average must be one of {", ".join(AVERAGES)}, not {average!r}')
    return average


def check_templates(template: str | Sequence[str]) -> tuple[str, ...]:
    """One template or several, or ``'imagenet'`` for the 80 that OpenAI published for ImageNet.

    Raises:
        ValueError: none, or one without exactly one place for a name.
    """
    if template == 'imagenet':
        from open_clip import OPENAI_IMAGENET_TEMPLATES  # an extra; a tower needs it, too

        return tuple(write('{}') for write in OPENAI_IMAGENET_TEMPLATES)
    templates = (template,) if isinstance(template, str) else tuple(template)
    bad = [text for text in templates if not isinstance(text, str) or text.count('{}') != 1]
    if bad or not templates:
        raise ValueError(
            f"a template is a text with one {{}} for the class name, such as 'a photo of a {{}}.', not "
            f'{bad[0] if bad else template!r}'
        )
    return templates


class PromptedText(PromptedLayers):
    """A frozen text tower, a prompter and class names: () -> Z (C, d), each row of length 1.

    The tower is no submodule: it has no parameters for an optimizer, is in no state dict, and always in eval mode. It
    follows the module to its device and its type of numbers.

    Args:
        tower: a text tower or its config; ``type`` is ``'OpenCLIPText'`` by default.
        classes: class names; underscores are read as spaces.
        template: a text with ``{}`` in the place of the name, or several, whose features are averaged; ``'imagenet'``
            for the 80 of CLIP's authors. A prompter with words of its own before the name takes their place.
        average: of several templates: of ``'normalised'`` features, as CLIP's authors do, or of ``'raw'`` ones.
        prompter: a prompter or its config, or several of them, for the text tower.
        whole: compute all rows of the context for each class, as published, by the library's own layers. Slow; for
            comparisons.

    Raises:
        ImportError: open_clip is not installed.
        ValueError: no names or templates; see also ``set_classes`` and ``start``.
    """

    def __init__(
        self,
        tower: Any,
        classes: Sequence[str],
        template: str | Sequence[str] = 'a photo of a {}.',
        average: str = 'normalised',
        prompter: Any = None,
        whole: bool = False,
    ) -> None:
        super().__init__()
        check_average(average)
        self.classes = check_names(classes)
        self.templates = check_templates(template)
        self.average, self.whole, self.with_cp = average, whole, False
        if isinstance(tower, dict):
            tower = build(TEXT_TOWERS, {'type': 'OpenCLIPText', **tower})
        if not isinstance(tower, OpenCLIPText):
            raise ValueError(f'tower must be a config, dict(model=..., pretrained=...), or a text tower, not {tower!r}')
        self._frozen = (tower.eval().requires_grad_(False),)
        several = isinstance(prompter, Sequence) and not isinstance(prompter, str)
        self.prompter = StackedPrompter(prompter) if several else build(PROMPTERS, prompter) or Prompter()
        self.rows = ROWS
        self._known: dict[Any, tuple[Any, Tensor]] = {}
        self._started = False

    @property
    def net(self) -> OpenCLIPText:  # type: ignore[override]
        """The tower."""
        return self._frozen[0]

    def start(self) -> None:
        """Bind the prompter, once the module is built.

        Raises:
            ValueError: a prompter that needs a door that text towers lack; names that are too long.
        """
        geometry = replace(self.net.geometry, classes=len(self.classes))
        lacking = self.prompter.doors - geometry.doors
        if lacking:
            needs, has = (', '.join(sorted(doors)) for doors in (self.prompter.doors, geometry.doors))
            raise ValueError(
                f'{type(self.prompter).__name__} enters by {needs}, but the text tower {geometry.name} has no '
                f'door {", ".join(sorted(lacking))}, only {has}'
            )
        bind(self.prompter, geometry, False)
        self._exact = not self.prompter.sites
        self._sentences = self._write(self.classes, self.templates)
        self._listen()
        self._known.clear()
        self._started = True

    def set_classes(self, classes: Sequence[str], template: str | Sequence[str] | None = None) -> None:
        """Other class names, and other templates if they are given, without training.

        Raises:
            ValueError: no names, one that is too long with what stands around it, or a prompter that has learnt
                something for each class.
        """
        names, templates, sentences = self.check_classes(classes, template)
        if self._started:
            self._sentences = sentences
        self.classes, self.templates = names, templates
        self._known.clear()

    def check_classes(
        self, classes: Any, template: str | Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], tuple[str, ...], list[Sentences]]:
        """What other class names, and other templates, would be: names, templates, and sentences if it has started.

        Raises:
            ValueError: see ``set_classes``.
        """
        names = check_names(classes)
        templates = self.templates if template is None else check_templates(template)
        if self.prompter.per_class and names != self.classes:
            raise ValueError(
                f'{type(self.prompter).__name__} has learnt vectors for each of its {len(self.classes)} classes, which '
                'are no others: train one that all classes share (class_specific=False)'
            )
        return names, templates, self._write(names, templates) if self._started else []

    # Sentences

    def _write(self, names: Sequence[str], templates: Sequence[str]) -> list[Sentences]:
        """By each template, or by the words of the prompter."""
        if self.prompter.phrase is None:
            return [self._by_template(template, names) for template in templates]
        return [self._by_words(names)]

    def _by_template(self, template: str, names: Sequence[str]) -> Sentences:
        texts = [self.net.encode(template.replace('{}', name)) for name in names]
        return self._lay_out(texts, [()] * len(texts), names, self.prompter.gap)

    def _by_words(self, names: Sequence[str]) -> Sentences:
        """The prompter's words, the name and a full stop; CoOp moves the name before or among the words."""
        prompter, texts, slots = self.prompter, list[list[int]](), list[Sequence[int]]()
        number = prompter.slots
        for name in names:
            ids = self.net.encode(f'{prompter.phrase} {name}.')
            name_length = len(self.net.encode(name)) - 2
            ahead = {'end': number, 'middle': number // 2, 'front': 0}[prompter.name_at]
            words, rest = ids[1 : 1 + number], ids[1 + number :]
            texts.append([ids[0], *words[:ahead], *rest[:name_length], *words[ahead:], *rest[name_length:]])
            if ahead == number:
                texts[-1] = ids
            slots.append([*range(1, 1 + ahead), *range(1 + ahead + name_length, 1 + number + name_length)])
        return self._lay_out(texts, slots, names, prompter.gap)

    def _lay_out(
        self, texts: Sequence[Sequence[int]], slots: Sequence[Sequence[int]], names: Sequence[str], gap: int
    ) -> Sentences:
        context = self.net.geometry.tokens
        longest = max(range(len(texts)), key=lambda i: len(texts[i]))
        length = len(texts[longest])
        if length + gap > context:
            raise ValueError(
                f'the class name {names[longest]!r} is too long: with the words around it, it has {length + gap} '
                f'tokens, and the text tower {self.net.geometry.name} takes {context}. Texts are never cut: '
                'shorten the name, the template or the prompt'
            )
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        marks = torch.zeros_like(ids)  # a slot and a word with the same id are not the same
        for row, (text, places) in enumerate(zip(texts, slots, strict=True)):
            ids[row, : len(text)] = torch.tensor(text)
            for number, place in enumerate(places, 1):
                marks[row, place] = number
        last = torch.tensor([len(text) - 1 for text in texts])
        same = ((ids == ids[:1]) & (marks == marks[:1])).all(0)
        if self.prompter.per_class:
            same &= (marks == 0).all(0)
        shared = min(int(same.long().cumprod(0).sum()), int(last.min()))
        return Sentences(ids, last, torch.tensor([list(places) for places in slots], dtype=torch.long), shared)

    # Forward

    def forward(self, note: Any = None) -> Tensor:
        """Z (C, d), or (B, C, d) for a prompter that takes a note: the embeddings of B images (B, d)."""
        if self.prompter.takes_note:
            return self._features(self._sentences, note)
        trains = any(parameter.requires_grad for parameter in self.prompter.parameters())
        if trains and (torch.is_grad_enabled() or self.prompter.training):
            return self._features(self._sentences, None)
        return self._remember('prompted', lambda: self._features(self._sentences, None))

    def frozen(self, template: str | Sequence[str] | None = None, average: str | None = None) -> Tensor:
        """Z (C, d) of the tower without the prompter, by the templates or by others: what pulls and teachers need."""
        templates = self.templates if template is None else check_templates(template)
        plain, average = object.__new__(PromptedText), average or self.average
        changes = dict(_modules={**self._modules, 'prompter': Prompter()}, _exact=True, average=average)
        plain.__dict__.update({**self.__dict__, **changes})

        def features() -> Tensor:
            return plain._features([plain._by_template(text, self.classes) for text in templates], None)

        return self._remember((templates, average), features)

    def _remember(self, key: Any, compute: Any) -> Tensor:
        """What ``compute`` gives without gradients, computed again where a number that it may depend on has changed."""
        compiling = torch.compiler.is_compiling()
        now = None if compiling else [stamp(tensor) for tensor in self._sources(with_prompter=key == 'prompted')]
        known = self._known.get(key)
        if known is None or (not compiling and known[0] != now):
            device = next(self.net.parameters()).device.type
            # Kept, so in the precision of the parameters, and fit for a graph of autograd.
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
                known = now, compute()
            self._known[key] = known
        return known[1]

    def _sources(self, with_prompter: bool) -> list[Tensor]:
        parts = (self.net, self.prompter) if with_prompter else (self.net,)
        return [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]

    def _features(self, several: Sequence[Sentences], note: Any) -> Tensor:
        found = [self._encode(sentences, note) for sentences in several]
        if len(found) == 1:
            return F.normalize(found[0], dim=-1)
        if self.average == 'normalised':
            found = [F.normalize(feature, dim=-1) for feature in found]
        return F.normalize(torch.stack(found).mean(0), dim=-1)

    def _encode(self, sentences: Sentences, note: Any) -> Tensor:
        """(C, d), or (B, C, d) with a note; not normalised."""
        net, prompter = self.net, self.prompter
        spelt = all(map(net.is_spelt, range(net.geometry.depth)))
        if prompter.sites and not spelt:
            raise ValueError(
                f'{type(prompter).__name__} acts inside the layers of the text tower {net.geometry.name}, which have '
                'to be called, as one of their modules has a hook or is not as its library made it: take the change off'
            )
        device = next(net.parameters()).device
        sentences = sentences._replace(
            ids=sentences.ids.to(device), last=sentences.last.to(device), slots=sentences.slots.to(device)
        )
        words = prompter.words(OUTSIDE._replace(note=note))
        number = len(note) if prompter.takes_note else 1
        if self.whole or not prompter.shares_prefix or not spelt:
            found = self._all_rows(sentences, words, number, note)
        else:
            found = self._with_shared_prefix(sentences, words, number, note)
        return found if prompter.takes_note else found[0]

    def _fill(self, sentences: Sentences, words: Tensor | None, rows: Tensor | slice, number: int) -> Tensor:
        """Word vectors of some classes, with those of the prompter in their slots: (B, C', T, D)."""
        vectors = self.net.vectors(sentences.ids[rows])[None].expand(number, -1, -1, -1)
        slots = sentences.slots[rows]
        if words is None or not slots.shape[1]:
            return vectors
        if words.dim() > 2 and words.shape[-3] > 1:
            words = words[..., rows, :, :]
        # Of all (M, D), of each class (C, M, D), or of each image, too (B, C or 1, M, D).
        words = words.to(vectors).expand(number, len(slots), -1, -1)
        return vectors.scatter(2, slots[None, :, :, None].expand_as(words), words)

    def _all_rows(self, sentences: Sentences, words: Tensor | None, number: int, note: Any) -> Tensor:
        """Every class by itself, as published: (B, C, d)."""
        net = self.net
        filled = self._fill(sentences, words, slice(None), number)
        classes, length = filled.shape[1:3]
        if self.whole:
            rest = sentences.ids.new_zeros(number, classes, net.geometry.tokens - self.prompter.gap - length)
            filled = torch.cat([filled, net.vectors(rest)], dim=2)
        if note is not None:
            note = note.repeat_interleave(classes, 0)
        tokens = net.place(filled.flatten(0, 1), gap=self.prompter.gap)
        before, last = tokens.shape[1], sentences.last.repeat(number)
        for layer in range(net.geometry.depth):
            context = TextContext((tokens.shape[1] - 1, 1))
            at = self._at(layer, context.grid, None, note)
            memory = self.prompter.memory(tokens, at)
            tokens, _ = self._pass(tokens, at, context, memory)
        row = last + tokens.shape[1] - before
        tokens = net.finish(tokens)
        pooled = tokens[torch.arange(len(tokens), device=row.device), row]
        return net.finish_pooled(pooled).unflatten(0, (number, classes))

    def _with_shared_prefix(self, sentences: Sentences, words: Tensor | None, number: int, note: Any) -> Tensor:
        """The same; what all classes share runs once for each image: (B, C, d)."""
        memories = self._run_prefix(sentences, words, number, note)
        parts = _parts(sentences, number, self.rows)
        found = []
        for rows in parts:
            inputs = sentences, words, rows, number, note, memories
            if len(parts) > 1 and torch.is_grad_enabled():
                found.append(checkpoint(self._run_rest, *inputs, use_reentrant=False))
            else:
                found.append(self._run_rest(*inputs))
        order = torch.cat(parts)
        return torch.cat(found, dim=1)[:, order.argsort()]

    def _run_prefix(self, sentences: Sentences, words: Tensor | None, number: int, note: Any) -> list[KeyValue]:
        """Keys and values of each layer that the rest of every sentence attends to, each (B, heads, P, d)."""
        net, prompter, gap = self.net, self.prompter, self.prompter.gap
        one = torch.zeros(1, dtype=torch.long, device=sentences.ids.device)
        shared = sentences._replace(ids=sentences.ids[:, : sentences.shared], slots=sentences.slots[:, :0])
        inside = (sentences.slots < sentences.shared).all(0)
        if words is not None and inside.any():  # slots before the name, in their order
            shared = shared._replace(slots=sentences.slots[:, inside])
            words = words[..., : int(inside.sum()), :]
        tokens = net.place(self._fill(shared, words, one, number)[:, 0], gap=gap)
        found = []
        for layer in range(net.geometry.depth):
            context = TextContext((tokens.shape[1] - 1, 1))
            at = self._at(layer, context.grid, None, note)
            memory = prompter.memory(tokens, at)
            entered = prompter.before_layer(tokens, at)
            ready = [self._called(at, net.keys_values, part, layer) for part in (entered, memory) if part is not None]
            found.append(join_memories(ready))
            if layer + 1 < net.geometry.depth:
                at = at._replace(entered=entered)
                tokens = prompter.after_layer(self._block(entered, at, context, memory), at)
        return found

    def _run_rest(
        self,
        sentences: Sentences,
        words: Tensor | None,
        rows: Tensor,
        number: int,
        note: Any,
        memories: Sequence[KeyValue],
    ) -> Tensor:
        """What stands after the shared rows, of some classes: (B, C', d)."""
        net, begin = self.net, sentences.shared
        last = sentences.last[rows] - begin
        end = begin + int(last.max()) + 1
        cut = sentences._replace(ids=sentences.ids[:, :end])
        filled = self._fill(cut, words, rows, number)[:, :, begin:]
        tokens = net.place(filled.flatten(0, 1), start=begin, gap=self.prompter.gap)
        context, row = TextContext((tokens.shape[1], 1), first=False), last.repeat(number)
        for layer, memory in enumerate(memories):
            at = self._at(layer, context.grid, None, note)._replace(entered=tokens)
            if layer + 1 < net.geometry.depth:
                tokens = self._called(at, net.block, tokens, layer, context, memory, False)
            else:
                tokens = self._called(at, net.last_row, tokens, layer, context, memory, row)
        return net.finish_pooled(net.finish(tokens[:, 0])).unflatten(0, (number, -1))

    # Several heads may hold one tower, and listen to its modules: each acts in its own forward alone.

    def _called(self, at: At, function: Callable[..., Any], *inputs: Any) -> Any:
        if torch.compiler.is_compiling() or not self.prompter.sites:
            return super()._called(at, function, *inputs)
        token = _running.set(self)
        try:
            return super()._called(at, function, *inputs)
        finally:
            _running.reset(token)

    def _inside(self, site: Site, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and _running.get() is not self:
            return output
        return super()._inside(site, module, inputs, output)

    # What a module is asked

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        """Of the tower and of the prompter, which no prompt file holds."""
        yield from self.net.frozen_tensors()
        yield from self.prompter.frozen_tensors()

    def _apply(self, fn: Any, recurse: bool = True) -> 'PromptedText':
        super()._apply(fn, recurse)
        self.net._apply(fn)
        self._known.clear()
        return self

    def train(self, mode: bool = True) -> 'PromptedText':
        super().train(mode)
        if mode:
            self._known = {key: value for key, value in self._known.items() if key != 'prompted'}
        return self

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._known.clear()
        super()._load_from_state_dict(*arguments)


def _parts(sentences: Sentences, number: int, rows: int) -> list[Tensor]:
    """The classes in parts of about ``rows`` rows, those of similar lengths together."""
    lengths = sentences.last + 1 - sentences.shared
    order = lengths.argsort(stable=True)
    found, current = list[list[int]](), list[int]()
    for index, length in zip(order.tolist(), lengths[order].tolist()):
        if current and (len(current) + 1) * number * length > rows:
            found.append(current)
            current = []
        current.append(index)
    return [torch.tensor(part, device=sentences.ids.device) for part in [*found, current]]
