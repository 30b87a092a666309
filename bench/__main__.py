"""`python -m bench`: everybody on the same job, then the whole line; tables on the screen, figures, pictures in OUT."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench.speed.broker import PLACE, PROJECT
from bench.speed.contenders import install_peers, peers_python


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="five times as much")
    parser.add_argument("--out", type=Path, default=PLACE / "figures", help="folder for JSON and pictures")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    more = ["--full"] if asked.full else []
    failed, files = 0, []
    for part in ("speed", "line"):
        files.append(asked.out / f"{part}.json")
        command = [sys.executable, "-m", f"bench.{part}", "--json", str(files[-1]), *more]
        failed |= subprocess.run(command, cwd=PROJECT, check=False).returncode
    install_peers(lambda text: print(text, file=sys.stderr))
    if all(file.exists() for file in files):
        subprocess.run([peers_python(), "-m", "bench.plots", asked.out, *files], cwd=PROJECT, check=True)
        print(f"figures and pictures: {asked.out}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
