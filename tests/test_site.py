"""The documentation is complete: each method has its page and its figure, each public name its entry."""

import ast
import json
import re
import sys
import tarfile
from pathlib import Path

import pytest
import timm
import torch
import yaml

import vptx
from vptx.analysis.support import prompters
from vptx.registry import MAPPINGS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / 'docs'
METHODS = {path: path.read_text() for path in sorted((DOCS / 'methods').glob('*.md')) if path.name != 'index.md'}
# Of mkdocstrings: what a page shows, and of a package which names alone.
SHOWN = re.compile(r'^::: ([\w.]+)\n((?:[ ].*\n)*)', re.MULTILINE)
# For the number of parameters that a page states. A text side stands in no image network.
LANGUAGE = {'ConditionalContextPrompter', 'ContextPrompter', 'CoupledPrompter'}
OWN = sorted(name for name, kind in prompters().items() if kind.__module__.startswith('vptx.'))


def page_of(prompter: str) -> Path:
    found = [
        path for path, text in METHODS.items() if re.search(rf'^::: vptx\.prompters\.{prompter}$', text, re.MULTILINE)
    ]
    assert len(found) == 1, (
        f'{prompter} needs one page in docs/methods/ with the line "::: vptx.prompters.{prompter}", like '
        f'docs/methods/deep.md, and a line of its own in mkdocs.yml and docs/methods/index.md'
    )
    return found[0]


@pytest.mark.parametrize('prompter', OWN)
def test_a_prompter_has_its_page(prompter):
    page = page_of(prompter)
    text = METHODS[page]
    assert f'`{prompter}`' in text
    assert '| Entry point |' in text and '| Networks |' in text and '| Paper |' in text
    (figure,) = re.findall(r'!\[[^\]]+\]\((\.\./assets/methods/\w+\.svg)\)', text)
    assert (page.parent / figure).is_file()
    assert re.search(r'^\$\$.+\$\$$', text, re.MULTILINE | re.DOTALL)
    for heading in ('Equation', 'When to use it', 'Parameters', 'Config', 'Options'):
        assert f'\n## {heading}\n' in text, heading
    assert '**When not.**' in text and f"type='{prompter}'" in text
    assert page.name in (DOCS / 'methods' / 'index.md').read_text()


@pytest.mark.parametrize('prompter', sorted({*OWN} - LANGUAGE))
def test_the_number_of_parameters_on_a_page_is_that_of_vit_b(prompter):
    """As its section Config has it, on ViT-B/16 at 224 px."""
    text = METHODS[page_of(prompter)]
    blocks = re.findall(r'```python\n(.*?)```', text.partition('\n## Config\n')[2], re.DOTALL)
    config: dict = {}
    exec(next(block for block in blocks if f"type='{prompter}'" in block), {}, config)
    options = config['custom_hooks'][0]['prompter']
    with torch.device('meta'):
        network = timm.create_model('vit_base_patch16_224', num_classes=0, dynamic_img_size=True)
        model = vptx.attach(network, on_meta(options))
    assert f'{sum(p.numel() for p in model.prompter.parameters()):,}' in text


def on_meta(options: dict) -> dict:
    """Without weights that would be downloaded."""
    parts = {name: on_meta(value) if isinstance(value, dict) else value for name, value in options.items()}
    return {name: value for name, value in parts.items() if name != 'weights'}


def test_base_configs_of_prompters_are_on_a_page():
    text = '\n'.join(METHODS.values())
    names = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / 'configs/_base_/prompters').glob('*.py'))]
    assert not [name for name in names if f'`{name}`' not in text]


def test_mappings_are_on_their_page():
    MAPPINGS.import_from_location()
    text = (DOCS / 'methods' / 'mappings.md').read_text()
    assert not [name for name in MAPPINGS.module_dict if f'`{name}`' not in text]


def exported(init: Path) -> list[str]:
    """``__all__`` of a module."""
    tree = ast.parse(init.read_text())
    return next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__'
        ),
        [],
    )


def test_public_names_are_in_the_reference():
    shown: set[str] = set()
    for page in DOCS.rglob('*.md'):
        for name, options in SHOWN.findall(page.read_text() + '\n'):
            folder = ROOT / name.replace('.', '/')
            members = re.findall(r'^ +- (\w+)$', options, re.MULTILINE)
            if not members and (folder / '__init__.py').is_file():
                # A module of the same name hides what a package exports.
                members = [
                    member for member in exported(folder / '__init__.py') if not (folder / f'{member}.py').is_file()
                ]
            shown |= {name, *(f'{name}.{member}' for member in members)}
    public = {
        f'{".".join(init.parent.relative_to(ROOT).parts)}.{name}'
        for init in [ROOT / 'vptx' / '__init__.py', *sorted(ROOT.glob('vptx/*/__init__.py'))]
        for name in exported(init)
    }
    lacking = [
        name
        for name in sorted(public - shown)
        if not any(
            there.startswith(f'{name.rpartition(".")[0]}.') and there.endswith(f'.{name.rpartition(".")[2]}')
            for there in shown
        )
    ]
    assert len(public) > 100 and not lacking


def test_pages_are_in_the_navigation():
    """As ``mkdocs build --strict`` finds, without mkdocs."""

    def files(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [name for part in (entry.values() if isinstance(entry, dict) else entry) for name in files(part)]

    config = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())
    sources = [*DOCS.rglob('*.md'), *DOCS.rglob('*.ipynb')]
    pages = {path.relative_to(DOCS).with_suffix('.md').as_posix() for path in sources}
    listed = files(config['nav'])
    assert len(listed) == len(set(listed)) and set(listed) == pages


def test_figures_are_as_their_script_draws_them(monkeypatch):
    """python website/figures.py"""
    monkeypatch.setattr(sys, 'path', [str(ROOT / 'website'), *sys.path])
    import figures

    drawn = figures.files()
    assert {path: path.read_text() for path in drawn} == drawn
    assert set((DOCS / 'assets').rglob('*.svg')) <= set(drawn)


@pytest.mark.parametrize(
    'page, net, first',
    [
        ('real', '', 0),
        ('benchmarks/mini_vtab', 'vit_mini_mae', 0),
        ('benchmarks/mini_vtab', 'vit_mini_sup', 3),  # five of its methods, so that p and means of all differ
    ],
)
def test_tables_of_methods_are_those_of_the_runs(page, net, first, tmp_path, monkeypatch):
    """python website/method_tables.py"""
    monkeypatch.setattr(sys, 'path', [str(ROOT / 'website'), *sys.path])
    from method_tables import tables

    with tarfile.open(DOCS / f'{page}_runs.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    lines = (DOCS / f'{page}.md').read_text().splitlines()
    rows = [row for text in tables(tmp_path / 'methods', net)[first:] for row in text.splitlines()[2:]]
    assert len(rows) >= 15 and not set(rows) - set(lines)


def test_the_notebook_has_run():
    """make notebook"""
    cells = [
        cell for cell in json.loads((DOCS / 'quick_start.ipynb').read_text())['cells'] if cell['cell_type'] == 'code'
    ]
    assert [cell['execution_count'] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell['outputs']]
    assert outputs and all(output['output_type'] != 'error' and output.get('name') != 'stderr' for output in outputs)


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) < 150
