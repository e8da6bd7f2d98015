"""The agent of a guest, as a script: `python3 -I -S agent.py [--after PID] --port PATH` or `--stdio`.

Short, because Python compiles a script anew each time and keeps only what is imported.
"""

from __future__ import annotations

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from bench.guest import serve

if __name__ == "__main__":
    serve.main(sys.argv[1:])
