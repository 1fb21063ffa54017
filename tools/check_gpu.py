"""The command ``vptx check-gpu``: python tools/check_gpu.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('check-gpu')
