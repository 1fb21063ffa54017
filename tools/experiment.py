"""The command ``vptx experiment``: python tools/experiment.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('experiment')
