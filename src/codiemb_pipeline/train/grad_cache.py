"""Encoding and back-propagation of one micro-batch: all at once, or chunk by chunk in bounded memory.

GradCache (Gao et al. 2021, arXiv 2101.06983): encode every chunk without a graph, compute the loss and its gradient on
the embeddings, then encode each chunk again with a graph and back-propagate its share of that gradient. The activations
of one chunk are in memory at a time, for any batch size; the gradients are the same, dropout included.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from codiemb_pipeline.distributed import without_exchange
from codiemb_pipeline.train.collate import IRBatch, STSBatch
from codiemb_pipeline.train.step import Objective, batch_loss, embed, embedding_loss


def backward_at_once(
    model: nn.Module, batch: IRBatch | STSBatch, objective: Objective, *, scale: float, exchange: bool
) -> dict[str, Tensor]:
    """Add the gradient of one micro-batch's loss to the parameters.

    Args:
        model: a :class:`TextEncoder`, wrapped or not.
        batch: of either task, on the model's device.
        objective: settings.
        scale: factor of the loss, 1 / accumulation.
        exchange: whether this is the last micro-batch of an update, after which processes average their gradients.

    Returns:
        The unscaled loss and its parts by name, without gradient.
    """
    with nullcontext() if exchange else without_exchange(model):
        loss, parts = batch_loss(model, batch, objective)
        (loss * scale).backward()
    return parts


def backward_in_chunks(
    model: nn.Module, batch: IRBatch | STSBatch, objective: Objective, *, scale: float, exchange: bool
) -> dict[str, Tensor]:
    """Do what :func:`backward_at_once` does, with the activations of one chunk in memory at a time."""
    device = batch.chunks[0].input_ids.device
    states, encoded = [], []
    with torch.no_grad():
        for chunk in batch.chunks:
            states.append(_generator_state(device))
            encoded.append(embed(model, [chunk], batch, objective))
    end = _generator_state(device)
    embeddings, middle = (None if part[0] is None else torch.cat(part) for part in zip(*encoded, strict=True))
    cached = [part.requires_grad_() for part in (embeddings, middle) if part is not None]
    loss, parts = embedding_loss(embeddings, middle, batch, objective)
    (loss * scale).backward()
    sizes = [len(chunk.input_ids) for chunk in batch.chunks]
    shares = list(zip(*(part.grad.split(sizes) for part in cached), strict=True))
    for number, chunk in enumerate(batch.chunks):
        _restore_generator(states[number], device)
        last = number + 1 == len(batch.chunks)
        with nullcontext() if exchange and last else without_exchange(model):
            outputs = [part for part in embed(model, [chunk], batch, objective) if part is not None]
            torch.autograd.backward(outputs, list(shares[number]))
    _restore_generator(end, device)
    return parts


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _restore_generator(state: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
