"""A process that has imported everything and forks others, so that a test can start, kill and resume many of them.

Each line of its input is JSON: ``argv`` of a tool of ``tools/``, ``cwd``, what to add to the ``environment``, and
``log``, where the output goes; for each it answers with the exit status. What it forks is a process like any other: of
its own, with nothing shared.
"""

import gc
import json
import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from runs import REPO, environment


class Zygote:
    """Starts the process of this file, and asks it for others."""

    def __enter__(self) -> 'Zygote':
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process = subprocess.Popen([sys.executable, __file__], env=environment(), **pipes)
        # Some of what is imported talks.
        assert 'ready\n' in iter(self.process.stdout.readline, '')
        return self

    def __exit__(self, *_) -> None:
        # Nothing is lost, and the end of its input may never come: workers of a loader hold the pipe open, too.
        self.process.kill()
        self.process.wait()

    def run(self, name: str, *arguments, cwd: Path | str = '.', log: Path) -> tuple[int, str]:
        """Run a tool in a process of its own: its exit status (negative: the signal that killed it) and output."""
        return self._fork([str(REPO / 'tools' / f'{name}.py'), *map(str, arguments)], cwd, log)

    def script(self, path: Path, log: Path) -> tuple[int, str]:
        """As ``run``, a script in its own folder."""
        return self._fork([str(path)], path.parent, log)

    def torchrun(self, processes: int, name: str, *arguments, restarts: int = 0, log: Path) -> tuple[int, str]:
        """As ``run``, by torchrun in several processes, which it forks where it else starts interpreters."""
        from torch.distributed import run

        options = ['--standalone', f'--nproc-per-node={processes}', f'--max-restarts={restarts}']
        forked = ['--start-method=fork', '--monitor-interval=0.1', '--run-path', str(REPO / 'tools' / f'{name}.py')]
        argv = [run.__file__, *options, *forked, *map(str, arguments), '--launcher', 'pytorch']
        # As tools/dist_train.sh says.
        return self._fork(argv, Path('.'), log, **({'TORCH_DISABLE_SHARE_RDZV_TCP_STORE': '1'} if restarts else {}))

    def _fork(self, argv: list[str], cwd: Path | str, log: Path, **environment: str) -> tuple[int, str]:
        job = dict(argv=argv, cwd=str(cwd), log=str(log), environment=environment)
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline()), log.read_text()


def serve() -> None:
    # What every run would import again.
    import torch.distributed.run
    import torch.utils.cpp_extension  # noqa: F401
    from mmpretrain.utils import register_all_modules

    with suppress(ImportError):  # it may be missing
        import mmseg.apis
        import mmseg.models  # noqa: F401

    register_all_modules(init_default_scope=False)
    answer = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # whatever prints, it does not answer
    gc.freeze()  # children share these pages: no collection shall touch them
    print('ready', file=answer, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**job)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answer, flush=True)


def run(argv: list[str], cwd: str, log: str, environment: dict[str, str]) -> None:
    """In the child: the tool, as from a shell."""
    os.environ.update(environment)
    os.chdir(cwd)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv, sys.path[:1] = argv, [cwd, str(REPO / 'tools')]
    status = 1
    try:
        runpy.run_path(argv[0], run_name='__main__')
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):  # as Python ends
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == '__main__':
    serve()
