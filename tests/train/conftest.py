import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_run import make_model_input, tiny_params, write_sources


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_encoder_folder):
    """Parameters as a dict, and the folder of model input."""
    root = tmp_path_factory.mktemp("launch")
    values = tiny_params(write_sources(root / "raw"), tiny_encoder_folder)
    return values, make_model_input(values, root)
