"""Names to layers, and sums over layers."""

import pytest
import torch

from codiemb_pipeline.merge.layers import LayerTable, in_model_order, layer_of


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("encoder.layer.3.attention.self.query.weight", "encoder.layer.3"),
        ("layers.11.mlp.experts.7.down_proj.weight", "layers.11"),
        ("embeddings.word_embeddings.weight", "embeddings"),
        ("pooler.dense.bias", "pooler"),
        ("norm.weight", "norm"),
        ("0.weight", "0"),
    ],
)
def test_layer_is_told_by_the_first_number_in_the_name(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_layers_are_ordered_by_number_not_by_letters() -> None:
    layers = ["encoder.layer.10", "encoder.layer.2", "pooler", "embeddings"]
    assert in_model_order(layers) == ["embeddings", "pooler", "encoder.layer.2", "encoder.layer.10"]


def test_layer_weight_counts_every_moved_parameter() -> None:
    """Sizes 3 and 1 with weights 1 and 0 for a: 0.75; the tensor nobody moved counts as parameters only."""
    table = LayerTable(["a", "b"], "l2")
    table.add("layer.0.x", 3, torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0]))
    table.add("layer.0.y", 1, torch.tensor([4.0, 2.0]), torch.tensor([0.0, 1.0]))
    table.add("layer.0.z", 9, torch.tensor([0.0, 0.0]), None)
    table.add("norm.weight", 2, torch.tensor([0.0, 0.0]), None)
    outside, stack = table.rows()
    assert outside.weights is None
    assert outside.label == "norm"
    assert stack.weights == {"a": 0.75, "b": 0.25}
    assert stack.delta_norms == {"a": 5.0, "b": 2.0}
    assert (stack.parameters, stack.number, stack.label) == (13, 0, "0")
    assert table.mean_weights() == {"a": 0.75, "b": 0.25}
