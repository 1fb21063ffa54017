"""Installation: ``pip install -e .``

The official OpenMMLab releases no longer install on a current PyTorch; the maintained forks of them named here do, and
are imported by the same names. Whoever has the official ones (mmengine, mmcv, mmpretrain) keeps them:

    pip install torch torchvision timm fvcore safetensors tensorboard
    pip install --no-deps -e .
"""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r"^__version__ = '(.+)'$", (here / 'vptx' / '__init__.py').read_text(), re.MULTILINE)
readme = here / 'README.md'
# Where GitHub's workflows build: https://github.com/user/vptx. A package index knows nothing next to the README.
server, repository = (os.environ.get(f'GITHUB_{name}', '') for name in ('SERVER_URL', 'REPOSITORY'))
source = f'{server}/{repository}' if server and repository else ''


def description() -> str:
    """The README, whose links and pictures lead to the tag in the repository; without both, where that is unknown."""
    text = readme.read_text() if readme.is_file() else ''
    if source:
        text = re.sub(r'(!\[[^]]*\]\()(?!\w+:)', rf'\1{source}/raw/v{version[1]}/', text)
        return re.sub(r'(?<=[^!])(\[[^]]*\]\()(?!\w+:)', rf'\1{source}/blob/v{version[1]}/', text)
    text = re.sub(r'!\[[^]]*\]\((?!\w+:)[^)]*\)\n*', '', text)
    return re.sub(r'\[([^]]*)\]\((?!\w+:)[^)]*\)', r'\1', text)


mini = ['scikit-learn>=1.3', 'scikit-image>=0.22']
seg = ['onedl-mmsegmentation>=1.4', 'ftfy', 'regex']
sweep = ['ray[tune]>=2.40']
serve = ['ray[serve]>=2.60', 'python-multipart>=0.0.20', 'prometheus_client>=0.20']
hf = ['transformers>=5.18; python_version >= "3.11"']
bands = ['tifffile>=2023.7.10']
export = ['onnx>=1.17', 'onnxscript>=0.5', 'onnxruntime>=1.20', 'openvino>=2025.0']
clip = ['open_clip_torch>=3.2,<4']
cma = ['cmaes>=0.11']
extras = {
    'export': export,
    'mini': mini,
    'seg': seg,
    'sweep': sweep,
    'serve': serve,
    'hf': hf,
    'bands': bands,
    'clip': clip,
    'cma': cma,
    # One minor version of ruff, because each formats a little differently.
    'test': [
        *mini,
        *seg,
        *sweep,
        *serve,
        'playwright>=1.50',
        *hf,
        *bands,
        'accelerate>=1.1; python_version >= "3.11"',
        'lightning>=2.4',
        *export,
        'setuptools>=68',
        *clip,
        *cma,
        'pytest>=8',
        'pytest-randomly>=3.16',
        'pytest-xdist>=3.5',
        'ruff>=0.17,<0.18',
        'import-linter>=2.3',
        'mypy>=1.11',
    ],
    # nbconvert and ipykernel run the notebook again and make a page of it; latex2mathml makes MathML of formulas.
    'docs': [
        'mkdocs>=1.6,<2',
        'mkdocs-material>=9.5,<10',
        'mkdocstrings[python]>=0.27',
        'latex2mathml>=3.77',
        'nbconvert>=7.16',
        'ipykernel>=6.29',
    ],
}

setup(
    name='vptx',
    version=version[1],
    description='Adapt frozen vision backbones with prompts, on MMEngine, mmpretrain and timm',
    long_description=description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    project_urls={'Source': source} if source else {},
    packages=find_packages(include=['vptx', 'vptx.*', 'vptx_cli']),
    # vptx/.mim links to configs, tools and weights: here they become files of the package.
    package_data={'vptx': ['py.typed', 'serve/page.html', '.mim/model-index.yml', '.mim/*/**/*']},
    exclude_package_data={'vptx': ['.mim/**/__pycache__/*', '.mim/**/*.pyc']},
    entry_points=dict(console_scripts=['vptx = vptx_cli:main']),
    python_requires='>=3.10,<3.13',
    install_requires=[
        # Before 2.10 a file can get around weights_only=True (CVE-2025-32434, CVE-2026-24747).
        # 2.13.0 has no torchvision that goes with it.
        'torch>=2.10,!=2.13.0',
        'torchvision>=0.25',
        'timm>=1.0.31',
        'onedl-mmengine>=0.10.8',
        'onedl-mmcv>=2.3',
        'onedl-mmpretrain>=1.3',
        'fvcore>=0.1.5',
        'safetensors>=0.4.3',
        'huggingface_hub>=1.31',
        'numpy>=1.26',
        'scipy>=1.11',
        'matplotlib>=3.7',
        'pillow>=10',
        'tensorboard>=2.12',
        'argcomplete>=3',
        'rich>=13',
    ],
    extras_require=extras,
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
