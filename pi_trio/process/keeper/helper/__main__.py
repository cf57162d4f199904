"""Starts the helper: ``python -I -S __main__.py SOCKET PIDFD``. See the package's docstring."""

import importlib
import os
import sys

if __name__ == "__main__":
    # Isolated Python looks nowhere but in the standard library. Behind it, so that no name is shadowed.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    importlib.import_module("helper.serve").main(int(sys.argv[1]), int(sys.argv[2]))
