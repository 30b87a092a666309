"""A notebook's cells in order, in one process, as a kernel runs them: `python notebook_run.py NOTEBOOK RESULT`."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with what its cells print as their outputs; what a cell raises goes up."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        said = io.StringIO()
        with redirect_stdout(said):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        text = said.getvalue().splitlines(keepends=True)
        cell["execution_count"] = number
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text}] if text else []
    return notebook


def printed(notebook: dict[str, Any]) -> list[str]:
    """What each cell of code printed."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(line for out in cell["outputs"] for line in out["text"]) for cell in cells]


if __name__ == "__main__":
    source, result = map(Path, sys.argv[1:])
    done = executed(json.loads(source.read_text(encoding="utf-8")))
    result.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
