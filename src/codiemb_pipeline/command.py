"""How the command lines end: an error that a user can act on is printed without a traceback."""

import sys

import click

from codiemb_pipeline.errors import PipelineError


def run(command: click.Command) -> None:
    """Run ``command`` on the arguments of this process."""
    try:
        command(standalone_mode=False)
    except PipelineError as error:
        sys.exit(str(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit("interrupted")
    except OSError as error:  # a full disk, a folder that may not be written
        sys.exit(f"{type(error).__name__}: {error}")
