"""Prompt files to the Hugging Face Hub, with a model card."""

import csv
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from torch import nn

from vptx.files import read_json
from vptx.hub import FILE, LOG_IN, Address, explained
from vptx.model_card import Measured, model_card
from vptx.prompt_file import read_prompt, save_prompt, write_prompt

__all__ = ['push_to_hub']


def push_to_hub(
    source: nn.Module | str | Path,
    repository: str,
    *,
    results: str | Path | Mapping[str, float] | None = None,
    command: str = '',
    seeds: Sequence[int] = (),
    data: str = '',
    base_model: str | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    classes: Sequence[str] = (),
    file: str = FILE,
    revision: str | None = None,
    private: bool = False,
    message: str = '',
    token: str | None = None,
    card: bool | None = None,
) -> str:
    """Upload a prompt file and its model card to a model repository on the Hugging Face Hub, in one commit.

    The file is read and checked first, and is written again as safetensors: nothing else that it may carry is uploaded.
    The text of the run's config, which a prompt file holds, is uploaded with it.

    Args:
        source: A model that ``vptx.attach`` returned, a prompt file, or the ``.pth`` of a run.
        repository: The repository, ``'user/name'``. It is created if it does not exist.
        results: What the model reached, for the card: figures such as ``{'accuracy/top1': 91.2}``, in per cent; or a
            file: that of ``vptx test --out``, the ``result.json`` of a run, or the ``results.json`` of an experiment.
        command: The command that measured the results.
        seeds: The seeds of the runs, if the file of the results does not have them.
        data: The name of the data that were measured, if the file does not have it.
        base_model: The frozen network on the hub, such as ``'timm/vit_base_patch16_224.mae'``. By default it is that of
            ``weights='timm://...'`` in the run's config.
        license: The licence, as the hub writes it, such as ``'apache-2.0'``.
        tags: More tags for the card.
        classes: The names of the classes, if ``source`` is a model that does not have them.
        file: The name of the prompt file in the repository.
        revision: The branch to commit to. By default it is the main branch.
        private: Whether a new repository is private.
        message: The message of the commit.
        token: The token of the hub. By default it is that of ``hf auth login`` or ``HF_TOKEN``.
        card: Whether README.md is written. By default it is written if the repository has none.

    Returns:
        The address with the commit, ``hf://user/name@<commit>/prompt.safetensors``.

    Raises:
        FileNotFoundError: There is no such file, no token or no permission, or the hub cannot be reached.
        ValueError: ``source`` is no prompt file and no prompted model, ``repository`` is no address, or ``results`` are
            no results.
    """
    address = Address(f'hf://{repository}{f"@{revision}" * bool(revision)}/{file}')
    where = f'hf://{repository}'
    if address.repository != repository:
        raise ValueError(f"{repository!r} is no name of a repository: it is 'user/name', and file= is apart")
    with TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        if isinstance(source, nn.Module):
            save_prompt(source, path, classes=classes)
            tensors, facts = read_prompt(path)
        else:
            tensors, facts = read_prompt(source)
            write_prompt(path, tensors, facts)
        measured = _measured(results, None if isinstance(source, nn.Module) else Path(source), seeds, data)
        text = model_card(repository, tensors, facts, measured, command, base_model, license, tags, file)
        api = HfApi(token=token, library_name='vptx')
        if not (token or get_token()):
            raise FileNotFoundError(f'{where}: there is no token to write with: {LOG_IN}')
        with explained(where, address, 'and nothing was uploaded: try again'):
            api.create_repo(repository, private=private, exist_ok=True)
            if card is None:
                card = not api.file_exists(repository, 'README.md', revision=revision)
            parts = [CommitOperationAdd(file, path), *[CommitOperationAdd('README.md', text.encode())] * card]
            done = api.create_commit(
                repository, parts, commit_message=message or f'Prompt file of {facts["network"]}', revision=revision
            )
    address.revision = done.oid
    return str(address)


def _measured(results: Any, source: Path | None, seeds: Sequence[int], data: str) -> list[Measured]:
    """What is to be said of results.

    Raises:
        FileNotFoundError: no such file.
        ValueError: begins with the file; no results of vptx, or of several models and not of this one.
    """
    if results is None:
        return []
    where = 'results' if isinstance(results, Mapping) else str(results)
    found = results if isinstance(results, Mapping) else read_json(results)
    if isinstance(found, list):
        return [_of_experiment(found, Path(results), source, seeds, data)]
    if isinstance(found, dict) and 'score' in found and 'point' in found:
        if found['score'] is None:
            raise ValueError(f'{where} is of a run that broke off: {found.get("error", "")}')
        seeds = seeds or [found['seed']] * (found.get('seed') is not None)
        found = found.get('figures') or {'score': found['score']}
    figures = {
        str(name): float(value)
        for name, value in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    }
    if not figures:
        raise ValueError(
            f'{where} has no results: expected numbers by name, as of vptx test --out, a result.json or a results.json'
        )
    return [Measured(name, [value], seeds, data) for name, value in figures.items()]


def _of_experiment(rows: Sequence[Any], path: Path, source: Path | None, seeds: Sequence[int], data: str) -> Measured:
    """Of the studies of an experiment: the one in whose folder the prompt file is, or the only one."""
    texts, studies = ('net', 'leaf', 'variant', 'task', 'metric'), dict[Path, tuple[Any, dict[str, str]]]()
    for row in rows:
        if not (isinstance(row, dict) and row.get('test') and all(isinstance(value, float) for value in row['test'])):
            continue
        named = {name: str(row.get(name, '')) for name in texts}
        config = '_'.join(filter(None, (named['net'], named['leaf'], named['variant'])))
        studies[path.parent / config / named['task']] = row['test'], named | dict(config=config)
    mine = [folder for folder in studies if source and source.resolve().is_relative_to(folder.resolve())] or [*studies]
    if len(mine) != 1:
        others = ', '.join(str(folder.relative_to(path.parent)) for folder in studies) or 'none'
        raise ValueError(
            f'{path} has results of several models, or of none ({others}): push the prompt.safetensors of one of their '
            'runs, or give the numbers themselves'
        )
    values, named = studies[mine[0]]
    if not seeds and path.with_name('trials.csv').is_file():
        of = dict(config=named['config'], task=named['task'], split='test')
        with path.with_name('trials.csv').open(newline='', encoding='utf-8') as file:
            found = [row for row in csv.DictReader(file) if of.items() <= row.items() and row.get('score')]
        seeds = [int(row['seed']) for row in found if str(row.get('seed')).isdecimal()]
    return Measured(named['metric'], values, seeds, data or named['task'])
