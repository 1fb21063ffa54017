"""Plain technical English in code, messages and pages: no word that only this package gives its meaning."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = [
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'mkdocs.yml',
    'Makefile',
    'docs',
    'configs',
    'tools',
    'vptx',
    'vptx_cli',
    'website',
]
SUFFIXES = ('', '.md', '.py', '.sh', '.yml')

# What to write instead. An underscore separates words, so that names of functions and variables are read, too.
PLAIN = {
    'halls?': 'prompted network',
    'houses?': 'package layout',
    'rooms?': 'package, module; space',
    'store?ys?': 'layer',
    'brought': 'frozen tensors of the prompter',
    '(un)?plug(s|ged|ging)?': 'attach, detach',
    'tak(e|es|en|ing) apart': 'wrap, wrapped',
    'told|tells': 'reported, logged, determined by',
    '(a|the|an experiment) leaf|leaves of|leaf of your own': 'experiment config',
    'lab notes?': 'header of a config',
    'nobody|somebody|whoever': 'name the code, or write "you"',
    'anew': 'again',
    'by hand': 'manually',
    'goes? with': 'is compatible with',
    'yardsticks?': 'baseline',
    'mini world': 'mini benchmarks',
    'theirs|ours': 'the paper, the public code; vptx',
    'whole or not at all': 'atomically',
    'spelt out': 'computed from weights; written explicitly',
    'as usually written|the usual form': 'concatenated',
    'images to (train on|choose by|test with)': 'training, validation, test images',
    'for ever': 'permanently',
    'mended': 'fixed',
    'to begin with': 'initially',
    'beside': 'next to, besides',
    'behind': 'after, under',
    'in front': 'before',
    '(the|its) way back': 'backward pass, inverse',
    'oracles?': 'reference output',
    'kin|their like': 'family, similar variants',
    'as ever': 'say when',
    'ground we stand on|our ground': 'dependencies',
}
# Names of classes.
NAMES = {'Known': 'State', 'PartialForward': 'State', 'Before': 'AttachState'}
# Here a word has its common meaning.
# The digits of the docs, and old names beside the new ones.
EXCEPTIONS = [
    'house number',
    r"'take apart'",
    r'backbones\.take apart',
    r'attach\.find hall',
    r'prompted\.Known',
    r'PromptedNetwork\.plug',
    r"brought='frozen tensors'",
    r'brought\(\)',
    '(fall|points|far|leaves) behind',
    r'beside(?=\(tokens)|beside=',
]


def private_words(text: str, is_python: bool = False) -> list[str]:
    """A line 'line number: word -> plain word' for each; a phrase may continue on the next line."""
    names = []
    if is_python:
        nodes = [(node, getattr(node, 'id', getattr(node, 'name', None))) for node in ast.walk(ast.parse(text))]
        names = [(node.lineno, name, NAMES[name]) for node, name in nodes if name in NAMES]
    prose = re.sub('|'.join(EXCEPTIONS), lambda match: ' ' * len(match[0]), text.replace('_', ' '))
    for pattern, plain in PLAIN.items():
        pattern = pattern.replace(' ', r'[\s#]+')
        found = re.finditer(rf'\b({pattern})\b', prose, re.IGNORECASE)
        names += [(prose.count('\n', 0, match.start()) + 1, re.sub(r'[\s#]+', ' ', match[0]), plain) for match in found]
    return [f'{line}: {word} -> {plain}' for line, word, plain in sorted(names)]


@pytest.mark.parametrize('place', PLACES)
def test_words_are_plain(place):
    paths = [path for path in [ROOT / place, *(ROOT / place).rglob('*')] if path.is_file() and path.suffix in SUFFIXES]
    assert paths
    found = [
        f'{path.relative_to(ROOT)}:{line}'
        for path in sorted(paths)
        for line in private_words(path.read_text(), path.suffix == '.py')
    ]
    assert not found, '\n' + '\n'.join(found)


def test_docstrings_have_no_roles_of_sphinx():
    """The documentation shows docstrings as Markdown, where a role would be text: ``name`` is code in both."""
    role = re.compile(r':(class|func|meth|attr|mod|data|exc|obj|ref):`')
    found = [
        f'{path.relative_to(ROOT)}:{number}'
        for place in ('vptx', 'vptx_cli', 'tools', 'configs')
        for path in sorted((ROOT / place).rglob('*.py'))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if role.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    'text, found',
    [
        ('the hallmark of a house number', []),
        ('a room', ['1: room -> package, module; space']),
        ('x = 1  # is\n# taken\n# apart', ['2: taken apart -> wrap, wrapped']),
        ('own_hall = 1', ['1: hall -> prompted network']),
        ('class Known: pass', ['1: Known -> State']),
        ('state: Before  # Before', ['1: Before -> AttachState']),
    ],
)
def test_private_words_are_found(text, found):
    assert private_words(text, is_python='=' in text or ':' in text) == found
