"""``python -m codiemb_pipeline`` is ``kedro run``."""

import sys

from kedro.framework.cli.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
