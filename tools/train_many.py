"""The command ``vptx train-many``: python tools/train_many.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('train-many')
