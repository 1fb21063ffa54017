"""Say what is installed, on what machine, and where files are kept:

vptx doctor

Ends with status 1 if something that vptx needs is missing or has a version that does not do.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

#: Releases of OpenMMLab that install the same modules as the forks that vptx needs.
OFFICIAL = ('mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain', 'mmsegmentation')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> None:
    lines: list[str] = []
    faults: list[str] = []
    for title, facts in (('Machine', _machine()), ('Installed', _installed(faults)), ('Files', _places())):
        lines += ['', title, *(f'  {name:24} {said}' for name, said in facts)]
    print('\n'.join(lines[1:]))
    if faults:
        raise SystemExit('\n' + '\n'.join(faults))


def _machine() -> Iterator[tuple[str, str]]:
    import torch

    yield 'system', platform.platform()
    yield 'Python', f'{platform.python_version()}, {sys.executable}'
    yield 'processors', f'{os.cpu_count()}, of which torch uses {torch.get_num_threads()}'
    yield 'CUDA', str(torch.version.cuda or 'this build of torch has none')
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        yield f'cuda:{index}', f'{facts.name}, {facts.total_memory / 2**30:.0f} GiB'
    if not torch.cuda.is_available():
        yield 'GPUs', 'none'


def _installed(faults: list[str]) -> Iterator[tuple[str, str]]:
    """Each package that vptx or one of its extras asks for; what does not do is added to ``faults``."""
    from packaging.requirements import Requirement

    yield 'vptx', f'{version("vptx")}, {Path(__file__).parent.parent}'
    asked = [Requirement(text) for text in requires('vptx') or ()]

    def needed(extra: str) -> list[Requirement]:
        return [one for one in asked if one.marker is None or one.marker.evaluate({'extra': extra})]

    for one in needed(''):
        said, fault = _state(one)
        yield one.name, said
        if fault:
            faults.append(f'{fault}: pip install "{one.name}{one.specifier}"')
    for extra in metadata('vptx').get_all('Provides-Extra') or ():
        lacking = [fault for one in needed(extra) if one.marker and (fault := _state(one)[1])]
        yield f'vptx[{extra}]', '; '.join(lacking) or 'complete'
    for name in OFFICIAL:
        if _version(name) and _version(f'onedl-{name.replace("-lite", "")}'):
            faults.append(
                f'{name} and onedl-{name.replace("-lite", "")} are both installed, and have the same modules: '
                f'pip uninstall {name}, then install the other one again'
            )


def _state(asked) -> tuple[str, str]:
    """What is to be said of a requirement, and what is wrong with it."""
    found = _version(asked.name)
    if found is None:
        return 'missing', f'{asked.name} is missing'
    if not asked.specifier.contains(found, prereleases=True):
        return f'{found}, but {asked.specifier} is needed', f'{asked.name} {found} is not {asked.specifier}'
    return found, ''


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _places() -> Iterator[tuple[str, str]]:
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    from vptx_cli.configs import config_names, shipped

    yield 'configs', f'{len(config_names())} in {shipped("configs").resolve()}'
    yield 'weights of timm, Hub', str(HF_HUB_CACHE)
    yield 'other downloads', torch.hub.get_dir()
    yield 'runs', str(Path('work_dirs').absolute())
    try:
        from vptx.cache import real_folder
        from vptx.real import ASSETS
    except ImportError as error:  # what is missing was said above
        yield 'real images, networks', f'unknown: {error}'
        return
    there = [name for name in ASSETS if (real_folder() / name).exists()]
    yield (
        'real images, networks',
        f'{len(there)} of {len(ASSETS)} in {real_folder()}: {", ".join(there) or "make real"}',
    )
