"""What MkDocs does not do by itself: formulas as MathML, figures that follow the switch between light and dark, a
notebook and the help of all commands as pages, and a check that a reader needs no other site.

https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from vptx_cli import COMMANDS, command_parser

# What pymdownx.arithmatex makes of $...$ and of $$...$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.+?)\\\]\s*</div>', re.DOTALL)
FIGURE = re.compile(r'<img alt="[^"]*" src="([^"]+\.svg)"\s*/?>')
# What a browser loads without being asked, from another site.
LOADED = re.compile(
    r'<(?:script|img|iframe|link rel="(?:stylesheet|preconnect|icon)")[^>]* (?:src|href)="(?:https?:)?//[^"]+"'
)


def unescape(text: str) -> str:
    return text.replace('&lt;', '<').replace('&gt;', '>').replace('&amp;', '&')


def on_files(files: Any, config: Any) -> Any:
    """A notebook, with what it printed and drew, becomes a page of its name."""
    for notebook in [file for file in files if file.src_uri.endswith('.ipynb')]:
        exporter = MarkdownExporter(preprocessors=[CoalesceStreamsPreprocessor])
        text, resources = exporter.from_filename(notebook.abs_src_path)
        page = notebook.src_uri.replace('.ipynb', '.md')
        files.append(File.generated(config, page, content=text))
        for name, data in resources['outputs'].items():
            files.append(File.generated(config, str(PurePosixPath(page).with_name(name)), content=data))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to a notebook lead to its page, and the help of all commands stands where a comment asks for it."""
    markdown = re.sub(r'\.ipynb(?=[)#])', '.md', markdown)
    return re.sub('<!-- commands -->', lambda _: '\n\n'.join(map(help_of, COMMANDS)), markdown)


def help_of(command: str) -> str:
    parser = command_parser(command)
    parser.prog = f'vptx {command}'
    return f'## {command}\n\n```text\n{parser.format_help()}```'


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Formulas become MathML, which browsers draw themselves. Figures become part of the page, whose colours they then
    take."""
    html = INLINE.sub(lambda found: convert(unescape(found[1])), html)
    html = BLOCK.sub(lambda found: f'<div class="formula">{convert(unescape(found[1]), display="block")}</div>', html)
    home = Path(config.site_dir, page.file.dest_uri).parent

    def figure(found: re.Match) -> str:
        path = (home / found[1]).resolve().relative_to(Path(config.site_dir).resolve())
        return f'<span class="drawn">{Path(config.docs_dir, path).read_text()}</span>'

    return FIGURE.sub(figure, html)


def on_post_page(output: str, page: Any, config: Any) -> None:
    if found := LOADED.search(output):
        raise PluginError(f'{page.file.src_uri} loads something from another site: {found[0]}')
