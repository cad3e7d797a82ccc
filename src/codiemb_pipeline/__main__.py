"""``python -m codiemb_pipeline`` is ``kedro run``."""

import sys
from pathlib import Path

from kedro.framework.cli.cli import KedroCLI
from kedro.utils import find_kedro_project

if __name__ == "__main__":
    project = find_kedro_project(Path.cwd())
    if project is None:
        sys.exit(f"{Path.cwd()}: expected the project's folder, with pyproject.toml; run this there")
    KedroCLI(project).main(["run", *sys.argv[1:]], prog_name="kedro")
