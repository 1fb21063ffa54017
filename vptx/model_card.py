"""The README.md of a prompt file on a hub, written from the facts in the file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from torch import Tensor

from vptx.mappings.base import LabelMapping
from vptx.weights.hub import hub_id

__all__ = ['Measured', 'model_card']

#: Figures of evaluators -> what a hub calls them.
METRICS = {
    'accuracy/top1': 'accuracy',
    'accuracy': 'accuracy',
    'mIoU': 'mean_iou',
    'single-label/precision': 'precision',
    'single-label/recall': 'recall',
    'single-label/f1-score': 'f1',
}
TASKS = {
    'image-classification': 'classification of images',
    'image-segmentation': 'semantic segmentation',
    'zero-shot-image-classification': 'classification of images by the names of classes',
}


@dataclass
class Measured:
    """What a model reached.

    Attributes:
        metric: its name, as an evaluator gives it.
        values: in per cent, one of each seed.
        seeds: of the runs, in the order of the values; empty if they are not known.
        data: on which it was measured.
    """

    metric: str
    values: Sequence[float]
    seeds: Sequence[int] = ()
    data: str = ''


def model_card(
    repository: str,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    measured: Sequence[Measured] = (),
    command: str = '',
    base_model: str | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    file: str = 'prompt.safetensors',
) -> str:
    """YAML and Markdown.

    Args:
        repository: ``user/name``.
        tensors: of the prompt file.
        facts: of the prompt file.
        measured: what the model reached.
        command: by which.
        base_model: the frozen network on the hub; by default what ``weights='timm://...'`` of the run's config is.
        license: as the hub writes it, such as ``apache-2.0``.
        tags: more of them.
        file: the name of the prompt file in the repository.
    """
    task = _task(tensors, facts)
    published = re.search(r'[\'"](timm://[\w.\-]+)[\'"]', facts.get('config', ''))
    data = ModelCardData(
        base_model=base_model or (hub_id(published[1]) if published else None),
        library_name='vptx',
        license=license,
        metrics=sorted({METRICS.get(m.metric, m.metric) for m in measured}) or None,
        model_name=repository.rpartition('/')[2],
        pipeline_tag=task,
        tags=['vptx', 'visual-prompt-tuning', facts['prompter'], *tags],
        eval_results=[_result(task, m) for m in measured if m.data] or None,
    )
    numbers, size = (
        sum(t.numel() for t in tensors.values()),
        sum(t.numel() * t.element_size() for t in tensors.values()),
    )
    prompts = sum(tensor.numel() for name, tensor in tensors.items() if name in facts['prompts'])
    classes = [_plain(name) for name in facts.get('classes', ())]
    image = ' x '.join(str(side) for side in facts.get('image', ()))
    mapping = _plain(facts.get('mapping', {}).get('type', ''))
    rows = [
        ('task', f'{TASKS[task]}, {len(classes)} classes' if classes else TASKS[task]),
        ('frozen network', _plain(facts['network']) + (f', images of {image} pixels' if image else '')),
        ('method', _method(facts)),
        ('trained', f'{numbers:,} numbers, of which {prompts:,} are prompts; {size / 1024:,.0f} kB'),
        ('readout', f'`{_plain(facts["readout"])}`' if facts.get('readout') else ''),
        # The base class changes nothing.
        ('label mapping', '' if mapping == LabelMapping.__name__ else mapping),
        ('fingerprint of the frozen weights', _fingerprint(facts)),
    ]
    address = f'hf://{repository}' + (f'/{file}' if file != 'prompt.safetensors' else '')
    return f"""---
{data.to_yaml()}
---

# {repository.rpartition('/')[2]}

A prompt file of vptx: prompts, and what else was trained, for a frozen network. The network itself is not in this
repository.

| | |
|---|---|
{_lines(f'| {name} | {said} |' for name, said in rows if said)}

## Results

{_results(measured, command)}

## Use

```
pip install vptx
vptx predict CONFIG {address} IMAGES
```

```python
import vptx

model = vptx.init_model('config.py', '{address}')
```

`vptx.load_prompt(model, '{address}')` takes a model that `vptx.attach` has prompted. Loading compares network,
prompter and frozen weights with those of training. A commit after the name, as in `hf://user/name@COMMIT`, always gives
the same file.

## Classes

{', '.join(classes) or 'Not in the file.'}
{_config(facts)}"""


def _lines(lines: Any) -> str:
    return '\n'.join(lines)


def _plain(text: Any) -> str:
    """On one line, and no markup of a table."""
    return ' '.join(str(text).split()).replace('|', '\\|').replace('`', "'").replace('<', '&lt;')


def _task(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    if any('decode_head.' in name for name in tensors) or 'decode_head=' in facts.get('config', ''):
        return 'image-segmentation'
    if facts.get('mapping', {}).get('type') == 'TextHead':
        return 'zero-shot-image-classification'
    return 'image-classification'


def _method(facts: Mapping[str, Any]) -> str:
    settings = ', '.join(f'{name}={value!r}' for name, value in facts.get('prompter_settings', {}).items())
    return _plain(f'{facts["prompter"]}({settings})')


def _fingerprint(facts: Mapping[str, Any]) -> str:
    found = facts['fingerprint']
    if isinstance(found, str):  # of format 1
        return f'`{_plain(found)}`'
    return '; '.join(f'{_plain(part)} `{_plain(next(iter(hashes.values()), ""))}`' for part, hashes in found.items())


def _value(measured: Measured) -> str:
    values = measured.values
    spread = f', {min(values):.2f} to {max(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{spread}'


def _results(measured: Sequence[Measured], command: str) -> str:
    if not measured:
        return 'Not given.'
    rows = [
        f'| {_plain(m.metric)} | {_value(m)} | {len(m.values)} | {", ".join(map(str, m.seeds)) or "not given"} | '
        f'{_plain(m.data) or "not given"} |'
        for m in measured
    ]
    said = f'```\n{command}\n```' if command else 'The command is not given.'
    head = '| metric | mean, and range | runs | seeds | data |\n|---|---|---|---|---|'
    return f'{head}\n{_lines(rows)}\n\n{said}'


def _result(task: str, measured: Measured) -> EvalResult:
    return EvalResult(
        task_type=task,
        dataset_type=re.sub(r'[^\w\-]+', '-', measured.data).strip('-').lower() or 'unknown',
        dataset_name=measured.data,
        metric_type=METRICS.get(measured.metric, measured.metric),
        metric_name=measured.metric,
        metric_value=round(mean(measured.values), 4),
    )


def _config(facts: Mapping[str, Any]) -> str:
    if not facts.get('config'):
        return ''
    return (
        '\n<details><summary>The config of the run, for information: nothing reads it</summary>\n\n'
        f'~~~~python\n{facts["config"].strip()}\n~~~~\n\n</details>\n'
    )
