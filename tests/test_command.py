"""The command ``vptx``, and the package as it is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from runs import REPO, environment

import vptx
from vptx.shipped import find_config, shipped
from vptx_cli import COMMANDS
from vptx_cli.configs import config_names


def python(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, '-c', code, *arguments]
    return subprocess.run(command, env=environment() | variables, capture_output=True, text=True, timeout=120)


def test_help_of_every_command_without_torch():
    code = (
        'import sys, io, contextlib; from vptx_cli import COMMANDS, main\n'
        "for argv in [['--help'], *([name, '--help'] for name in COMMANDS)]:\n"
        "    sys.argv = ['vptx', *argv]\n"
        '    try: main()\n'
        '    except SystemExit as end: assert end.code == 0\n'
        "print(sorted({'torch', 'mmengine', 'vptx', 'numpy'} & set(sys.modules)))"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith('\n[]\n')
    for name in COMMANDS:
        assert f'usage: vptx {name}' in done.stdout


def test_a_tool_for_every_command_that_takes_the_same_arguments():
    modules = {name: name.replace('-', '_') for name in COMMANDS}
    for name, module in modules.items():
        if (tool := REPO / 'tools' / f'{module}.py').is_file():
            assert f"main('{name}')" in tool.read_text()
    # doctor is of the installation, and is not run from a checkout
    assert {path.stem for path in (REPO / 'tools').glob('*.py')} == {*modules.values(), 'quickstart'} - {'doctor'}


def test_an_unknown_command_and_none():
    assert 'invalid choice' in python('from vptx_cli import main; main()', 'trian').stderr
    assert python('from vptx_cli import main; main()').stdout.startswith('usage: vptx')


def test_the_version_is_the_same_everywhere():
    """Of the package, of the citation, and above the changes of a release."""
    cited = re.search(r'^version: (.+)$', (REPO / 'CITATION.cff').read_text(), re.MULTILINE)
    assert cited and cited[1] == vptx.__version__
    headings = re.findall(r'^## (.+)$', (REPO / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert headings[0] == 'Unreleased'
    assert all(re.fullmatch(r'\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)', heading) for heading in headings[1:])


def test_configs_by_name():
    names = config_names()
    assert 'mini/digits_vpt_deep' in names and 'seg/setr_vitl_vpt' in names
    assert not any(name.startswith('_base_') for name in names)
    for name in ('mini/digits_vpt_deep', 'mini/digits_vpt_deep.py', 'vptx::mini/digits_vpt_deep.py'):
        assert find_config(name) == shipped('configs') / 'mini' / 'digits_vpt_deep.py'
    assert config_names('mini/digits_vpt') == ['mini/digits_vpt_deep', 'mini/digits_vpt_shallow']


@pytest.mark.parametrize(
    ('asked', 'offered'),
    [
        ('mini/digits_vpt_depe', 'mini/digits_vpt_deep'),
        ('setr_vitl_vtp', 'seg/setr_vitl_vpt'),
        ('vptx::mini/digit_linear.py', 'mini/digits_linear'),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(asked, offered):
    with pytest.raises(FileNotFoundError, match=f'near to it are {offered}'):
        find_config(asked)


def test_a_name_does_not_lead_out_of_the_configs():
    with pytest.raises(FileNotFoundError, match='no config of this name'):
        find_config('../tools/train')


def test_a_file_comes_before_a_config_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path('mini/digits_vpt_deep.py')
    own.parent.mkdir()
    own.write_text('')
    assert find_config('mini/digits_vpt_deep.py') == own


def test_an_unknown_config_ends_the_command_with_the_error_alone(start, tmp_path):
    status, output = start('train', 'mini/digits_vpt_depe', log=tmp_path / 'log')
    assert status == 1 and 'mini/digits_vpt_deep' in output and 'Traceback' not in output


def test_mmengine_finds_the_configs(tmp_path):
    config = Config.fromfile('vptx::seg/setr_vitl_vpt.py')
    assert config.model.backbone.net.type == 'TimmViT'
    own = tmp_path / 'own.py'
    own.write_text("_base_ = 'vptx::mini/digits_linear.py'")
    assert Config.fromfile(own).model == Config.fromfile(shipped('configs') / 'mini' / 'digits_linear.py').model
    model = vptx.init_model('mini/digits_linear')
    assert model.head.num_classes == 10


def test_the_shell_completes_commands_and_configs(tmp_path):
    def completed(line: str) -> list[str]:
        answer = tmp_path / 'answer'
        code = 'import os, sys; from vptx_cli import main; sys.argv = ["vptx"]; main()'
        variables = dict(
            _ARGCOMPLETE='1', COMP_LINE=line, COMP_POINT=str(len(line)), _ARGCOMPLETE_STDOUT_FILENAME=str(answer)
        )
        done = python(code, **variables)
        assert done.returncode == 0, done.stderr
        return answer.read_text().split('\v')

    assert completed('vptx benchmark-t') == ['benchmark-text ']
    assert completed('vptx train mini/digits_vpt_d') == ['mini/digits_vpt_deep ']


def test_an_import_prints_nothing():
    done = python('import vptx; from mmpretrain.utils import register_all_modules; register_all_modules()')
    assert (done.stdout, done.stderr) == ('', '')


def test_an_import_takes_what_it_needs_alone():
    """Not libraries that are slow to import and that it does without; what needs them is there when it is asked for."""
    code = (
        'import sys, vptx, vptx.backbones\n'
        "slow = {'transformers', 'matplotlib', 'pandas', 'sklearn', 'skimage', 'open_clip', 'ray', 'onnx', 'mmseg'}\n"
        "slow |= {'timm', 'torchvision', 'torch._dynamo', 'huggingface_hub', 'tensorboard', 'sympy'}\n"
        "print(sorted((slow | {'mmpretrain', 'scipy.optimize', 'onnxruntime', 'openvino'}) & set(sys.modules)))\n"
        'import importlib.util; assert importlib.util.find_spec("timm")\n'  # as code does that only asks for it
        'import timm, torch\n'
        'from mmengine.registry import OPTIMIZERS\n'
        "made = OPTIMIZERS.build(dict(type='Adafactor', params=torch.nn.Linear(2, 2).parameters()))\n"
        "model = vptx.attach(timm.create_model('vit_mini_patch8_64', depth=1), dict(type='DeepPrompter'))\n"
        'print(type(made).__module__, type(model.net) is vptx.backbones.TimmViT, vptx.push_to_hub.__name__)\n'
        "print(hasattr(vptx, 'push'), hasattr(vptx.backbones, 'TimmVit'))\n"
        'print({*vptx.backbones.__all__} >= {*vptx.registry.NETS.module_dict})'
    )
    done = python(code)
    lines = done.stdout.splitlines()  # MMEngine says which Adafactor it builds
    assert lines[0] == '[]', done.stderr
    assert lines[-3:] == ['transformers.optimization True push_to_hub', 'False False', 'True'], done.stderr


def test_what_mmengine_imports_late_is_the_same():
    """Its optimizer, wrapper and strategy that shard, by a config's name, by an import, and where their modules are."""
    code = (
        'import sys, vptx\n'
        'import mmengine.model, mmengine.optim.optimizer.zero_optimizer as zero\n'
        'from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS, STRATEGIES\n'
        "built = STRATEGIES.build(dict(type='FSDPStrategy'))\n"
        'from mmengine._strategy.fsdp import FSDPStrategy\n'
        'print(type(built) is FSDPStrategy is STRATEGIES.get("FSDPStrategy"))\n'
        'wrapper = mmengine.model.MMFullyShardedDataParallel\n'
        'print(wrapper is mmengine.model.wrappers.MMFullyShardedDataParallel, wrapper.__mro__[1].__name__)\n'
        'print(MODEL_WRAPPERS.get("MMFullyShardedDataParallel") is wrapper, mmengine.model.is_model_wrapper(built))\n'
        'print(zero.ZeroRedundancyOptimizer is OPTIMIZERS.get("ZeroRedundancyOptimizer"))\n'
        'print(zero.ZeroRedundancyOptimizer is mmengine.optim.ZeroRedundancyOptimizer)\n'
        'print(hasattr(mmengine.model, "Nothing"))'
    )
    done = python(code)
    right = ['True', 'True FullyShardedDataParallel', 'True False', 'True', 'True', 'False']
    assert done.stdout.splitlines()[-6:] == right, done.stderr


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A bare environment with vptx from a wheel that was built from a source distribution, outside of the checkout."""
    folder = tmp_path_factory.mktemp('installed')
    source = folder / 'source'
    left = ('.git', '.venv', '*cache*', '*.egg-info', 'build', 'dist', 'work_dirs', 'data', 'tests')
    source.mkdir()
    for path in set(REPO.iterdir()) - {found for pattern in left for found in REPO.glob(pattern)}:
        if path.is_dir():
            shutil.copytree(path, source / path.name, symlinks=True)
        else:
            shutil.copy(path, source)
    build = 'import sys, setuptools.build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])'
    build_sdist, plain = [sys.executable, '-c', build, 'build_sdist', folder], {**os.environ, 'GITHUB_REPOSITORY': ''}
    subprocess.run(build_sdist, cwd=source, check=True, capture_output=True, env=plain)
    (archive,) = folder.glob('*.tar.gz')
    subprocess.run(['tar', 'xzf', archive], cwd=folder, check=True)
    unpacked = folder / archive.name.removesuffix('.tar.gz')
    release = os.environ | dict(GITHUB_SERVER_URL='https://example.org', GITHUB_REPOSITORY='user/vptx')
    build_wheel = [sys.executable, '-c', build, 'build_wheel', folder]
    subprocess.run(build_wheel, cwd=unpacked, check=True, capture_output=True, env=release)
    (wheel,) = folder.glob('*.whl')
    place = folder / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', place], check=True)
    (packages,) = place.glob('lib/python*/site-packages')
    (packages / 'others.pth').write_text(str(Path(torch.__file__).parent.parent))  # its own .pth are not read from here
    pip = [sys.executable, '-m', 'pip', '--python', place / 'bin' / 'python', 'install', '--no-deps', '--no-index']
    subprocess.run([*pip, '--ignore-installed', wheel], check=True, capture_output=True)
    return place / 'bin'


def run(*command, cwd: Path) -> str:
    variables = {name: value for name, value in environment().items() if name != 'PYTHONPATH'}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow  # the release workflow tries it, too
def test_an_installed_package_trains_a_config_by_name_in_an_empty_folder(installed, tmp_path):
    where = run(installed / 'python', '-c', 'import vptx; print(vptx.__file__)', cwd=tmp_path)
    assert where.startswith(str(installed.parent)) and (Path(where.strip()).parent / 'py.typed').is_file()
    shorter = ('--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.dataset.num_train=20')
    output = run(installed / 'vptx', 'train', 'mini/digits_linear', *shorter, cwd=tmp_path)
    for noise in ('OneDL', 'is the alias of', 'FileClient', 'MultiScaleDeformableAttention', 'UserWarning'):
        assert noise not in output
    prompt = Path('work_dirs', 'digits_linear', 'prompt.safetensors')
    assert (tmp_path / prompt).is_file()
    assert 'accuracy/top1' in run(installed / 'vptx', 'test', 'mini/digits_linear', prompt, cwd=tmp_path)


def test_doctor_of_an_installed_package(installed, tmp_path):
    output = run(installed / 'vptx', 'doctor', cwd=tmp_path)
    for fact in ('Machine', 'onedl-mmengine', 'vptx[mini]', f'{len(config_names())} in {installed.parent}'):
        assert fact in output


def test_the_description_of_a_package_has_no_link_into_a_checkout(installed):
    """An index shows the README alone: links and pictures lead to the repository, or are left out."""
    (wheel,) = installed.parent.glob('lib/python*/site-packages/vptx-*.dist-info/METADATA')
    (archive,) = installed.parent.parent.glob('vptx-*/PKG-INFO')
    link = re.compile(r'(!?)\[[^]]*\]\(([^)\s]+)\)')
    wanted, relative = link.findall((REPO / 'README.md').read_text()), r'(?!https?:)'
    local = [path for _, path in wanted if re.match(relative, path)]
    assert ('!', 'docs/assets/doors.svg') in wanted and len(local) > 10
    at = 'https://example.org/user/vptx'
    found = link.findall(wheel.read_text())
    assert ('!', f'{at}/raw/v{vptx.__version__}/docs/assets/doors.svg') in found and len(found) == len(wanted)
    assert ('', f'{at}/blob/v{vptx.__version__}/CONTRIBUTING.md') in found
    assert f'Project-URL: Source, {at}\n' in wheel.read_text()
    for text in (wheel.read_text(), archive.read_text()):
        assert not [path for _, path in link.findall(text) if re.match(relative, path)]
    assert '[' not in archive.read_text().split('## Documentation')[1].split('[Visual Prompt')[0]
