"""The API reference is made of docstrings: those of classes say what their arguments are, and where they come from."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'vptx'
MODULES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob('*.py')) if '.mim' not in path.parts}
PAPER = re.compile(r'https?://(?:arxiv\.org/abs/[\d.]*\d|doi\.org/[\w./-]*\w)')
ENTRY = re.compile(r'^    ([*\w]+(?:, [*\w]+)*):', re.MULTILINE)


def classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith('_')}


def arguments(made: ast.ClassDef) -> set[str]:
    """Of the constructor that the class has itself, or the fields of a dataclass or of a named tuple."""
    for node in made.body:
        if isinstance(node, ast.FunctionDef) and node.name == '__init__':
            args = node.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
            return {arg.arg for arg in every} - {'self'}
    if any('dataclass' in ast.unparse(node) for node in made.decorator_list) or 'NamedTuple' in map(
        ast.unparse, made.bases
    ):
        fields = [node for node in made.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
        hidden = ('ClassVar', 'init=False')
        return {field.target.id for field in fields if not any(word in ast.unparse(field) for word in hidden)}
    return set()


def documented(docstring: str) -> set[str]:
    """The names that have an entry under Args or Attributes."""
    sections = re.split(r'^(\w+):\n', docstring, flags=re.MULTILINE)
    texts = [text for name, text in zip(sections[1::2], sections[2::2]) if name in ('Args', 'Attributes')]
    return {name.lstrip('*') for text in texts for names in ENTRY.findall(text) for name in names.split(', ')}


@pytest.mark.parametrize('path', MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_classes_document_the_arguments_of_their_constructors(path):
    missing = {
        name: lacking
        for name, made in classes(MODULES[path]).items()
        if (lacking := arguments(made) - documented(ast.get_docstring(made) or ''))
    }
    assert not missing


def test_a_class_that_is_registered_names_its_paper():
    """Where its module is about a paper, the docstring that the reference shows has the link too."""
    lacking = [
        name
        for path, tree in MODULES.items()
        if PAPER.search(ast.get_docstring(tree) or '')
        for name, made in classes(tree).items()
        if any('register_module' in ast.unparse(node) for node in made.decorator_list)
        if not PAPER.search(ast.get_docstring(made) or '')
    ]
    assert not lacking
