"""Tiny models as the hub has the encoders of the profiles: the files, and name and type of the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tiny_architectures import MAKERS, make_bert, make_qwen3, make_xlmr

from codiemb_pipeline.jsonl import write_json


@dataclass(frozen=True)
class HubModel:
    """A model.

    Attributes:
        make: writes a tiny model of its architecture.
        dtype: of its weights; ``None`` as made.
        pickled: whether they are in pytorch_model.bin and nowhere else.
        more: files for other frameworks.
    """

    make: Callable[[Path], Path]
    dtype: str | None = None
    pickled: bool = False
    more: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write the files that the hub has."""
        import torch
        from safetensors.torch import load_file, save_file

        self.make(folder)
        if self.dtype or self.pickled:
            file = folder / "model.safetensors"
            weights = {
                name: value.to(getattr(torch, self.dtype or "float32")) for name, value in load_file(file).items()
            }
            file.unlink()
            torch.save(weights, folder / "pytorch_model.bin") if self.pickled else save_file(
                weights, file, {"format": "pt"}
            )
        for name in self.more:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"not to be fetched")
        write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": 32, "pooling_mode_cls_token": True})
        paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
        kinds = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in paths.items()]
        write_json(folder / "modules.json", kinds)
        (folder / "README.md").write_text("---\nlicense: mit\n---\nA miniature for tests.\n")
        return folder


HUB_MODELS = {
    "BAAI/bge-large-zh-v1.5": HubModel(partial(make_bert, positions=512), pickled=True),
    "BAAI/bge-m3": HubModel(partial(make_xlmr, positions=8194), pickled=True, more=("onnx/model.onnx",)),
    "intfloat/multilingual-e5-large-instruct": HubModel(
        partial(make_xlmr, positions=514), dtype="float16", more=("onnx/model.onnx",)
    ),
    "openbmb/MiniCPM-Embedding": HubModel(MAKERS["minicpm"]),
    "tencent/Youtu-Embedding": HubModel(MAKERS["youtu"]),
    "Qwen/Qwen3-Embedding-0.6B": HubModel(partial(make_qwen3, positions=32768), dtype="bfloat16"),
}
"""By id. MiniCPM and Youtu bring own code, which their makers write."""
