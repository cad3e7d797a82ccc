"""The encoders of the profiles, as the hub has them, load under the settings of their profiles."""

from pathlib import Path

import pytest
from hub_models import HUB_MODELS

from codiemb_pipeline.encoder.checkpoint import load_encoder, save_encoder
from codiemb_pipeline.params import EncoderParams
from codiemb_pipeline.profiles import profile_titles, read_profile

ROOT = Path(__file__).parents[2]
PROFILES = {name: read_profile(name, ROOT)["encoder"] for name in profile_titles(ROOT)}
PROFILES = {name: values for name, values in PROFILES.items() if values["path"] in HUB_MODELS}
BESIDE = ("colbert_linear.pt", "sparse_linear.pt", "tf_model.h5", "model.onnx", "long.gguf", "imgs/model.safetensors")


@pytest.mark.parametrize("name", PROFILES)
def test_an_encoder_loads_with_whatever_lies_beside_it_and_as_it_is_saved(tmp_path, caplog, name):
    """bge-m3 has the heads of its other ways of search, others have the weights for other frameworks."""
    folder = HUB_MODELS[PROFILES[name]["path"]].write(tmp_path / "hub")
    for file in BESIDE:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"of no concern")
    params = EncoderParams.parse({**PROFILES[name], "path": str(folder), "revision": None}, "encoder")
    save_encoder(load_encoder(params), tmp_path / "saved")
    load_encoder(params, tmp_path / "saved")
    assert not [record for record in caplog.records if str(tmp_path / "saved") in record.getMessage()]
