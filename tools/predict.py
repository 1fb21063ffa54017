"""The command ``vptx predict``: python tools/predict.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('predict')
