"""Which layer a tensor belongs to, by its name, and sums over the tensors of a layer.

The first whole number in a dotted name is the layer's: ``encoder.layer.3.output.dense.weight`` is of
``encoder.layer.3``. A name without one belongs to its first word (``embeddings``, ``pooler``), and all of a side module
(``2_Dense/linear.weight``) to that module.
"""

import re
from collections.abc import Sequence

import torch

from codiemb_pipeline.artifacts.merge import Layer
from codiemb_pipeline.merge.delta_fusion import Norm, join_norms

_NUMBERED = re.compile(r"^(?:.*?\.)??(\d+)(?=\.|$)")


def layer_of(name: str) -> str:
    """Return the layer that tensor ``name`` belongs to."""
    if "/" in name:
        return name.rpartition("/")[0]
    match = _NUMBERED.match(name)
    return match.group() if match else name.partition(".")[0]


def layer_number(layer: str) -> int | None:
    """Return a layer's number, or ``None`` for what lies outside the stack."""
    last = layer.rpartition(".")[2]
    return int(last) if last.isdigit() else None


def in_model_order(layers: Sequence[str]) -> list[str]:
    """Return ``layers`` with those outside the stack first, by name, then the others by number."""
    return sorted(layers, key=lambda layer: (layer_number(layer) is not None, layer_number(layer) or 0, layer))


class LayerTable:
    """Norms and mean weights of the candidates in each layer, filled tensor by tensor.

    The mean weight counts every parameter of a tensor that some candidate moved; tensors nobody moved have no weights.
    """

    def __init__(self, candidates: Sequence[str], norm: Norm) -> None:
        self._candidates, self._norm = list(candidates), norm
        self._parameters: dict[str, int] = {}
        self._norms: dict[str, torch.Tensor] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._weighted: dict[str, int] = {}

    def add(self, tensor: str, size: int, norms: torch.Tensor, weights: torch.Tensor | None) -> None:
        """Count in one tensor of ``size`` parameters: ``norms`` (K,), and ``weights`` (K,) unless nobody moved it."""
        layer = layer_of(tensor)
        self._parameters[layer] = self._parameters.get(layer, 0) + size
        known = self._norms.get(layer)
        self._norms[layer] = norms if known is None else join_norms(known, norms, self._norm)
        if weights is not None:
            self._weights[layer] = self._weights.get(layer, 0.0) + weights.double() * size
            self._weighted[layer] = self._weighted.get(layer, 0) + size

    def rows(self) -> list[Layer]:
        """Return one row a layer, in the model's order; weights are ``None`` where no tensor moved."""
        return [self._row(layer) for layer in in_model_order(list(self._parameters))]

    def _row(self, layer: str) -> Layer:
        number = layer_number(layer)
        moved = layer in self._weights
        return Layer(
            layer=layer,
            label=layer if number is None else str(number),
            number=number,
            parameters=self._parameters[layer],
            weights=self._named(self._weights[layer] / self._weighted[layer]) if moved else None,
            delta_norms=self._named(self._norms[layer]),
        )

    def mean_weights(self) -> dict[str, float]:
        """Return the mean weight of each candidate over all moved tensors; all 0 when there is none."""
        total = sum(self._weights.values(), torch.zeros(len(self._candidates), dtype=torch.float64))
        return self._named(total / max(sum(self._weighted.values()), 1))

    def _named(self, values: torch.Tensor) -> dict[str, float]:
        return {name: float(f"{value:.6g}") for name, value in zip(self._candidates, values.tolist(), strict=True)}
