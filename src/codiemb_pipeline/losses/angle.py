"""AnglE: CoSENT on a similarity in complex space, whose gradient does not vanish where the cosine is near 1."""

import torch
from torch import Tensor

from codiemb_pipeline.losses.cosent import cosent
from codiemb_pipeline.losses.operands import same_precision


def angle(embeddings_a: Tensor, embeddings_b: Tensor, gold: Tensor, *, temperature: float) -> Tensor:
    """Return :func:`codiemb_pipeline.losses.cosent.cosent` of similarities in complex space.

    The halves of an embedding are the real and the imaginary parts of D / 2 complex numbers, z of a and w of b:
    s = | sum_d Re q_d + Im q_d | with q_d = z_d conj(w_d) / (|z| |w|), which is z_d / w_d with the lengths taken out.

    Source: AnglE (arXiv 2309.12871). Its equations order angle differences, smaller for more similar pairs; its
    released code and sentence-transformers' ``AnglELoss`` order s as a similarity, 1 for equal embeddings, as here.

    Args:
        embeddings_a: (n, D) embeddings of the first texts, D even.
        embeddings_b: (n, D) of the second texts.
        gold: (n,) human scores, any range: only their order counts.
        temperature: T, above 0.

    Returns:
        Scalar, 0 or above, float32 (float64 for float64 embeddings). Constant gold or fewer than two pairs: 0,
        connected to both embeddings.

    Raises:
        ValueError: embeddings of other shapes or of odd width; otherwise as ``cosent``.
    """
    if embeddings_a.shape != embeddings_b.shape or embeddings_a.dim() != 2 or embeddings_a.shape[1] % 2:
        shapes = f"{tuple(embeddings_a.shape)} and {tuple(embeddings_b.shape)}"
        raise ValueError(f"expected two tensors (n, D) with D even, found {shapes}")
    a, b = same_precision(embeddings_a, embeddings_b)
    (real_a, imaginary_a), (real_b, imaginary_b) = a.chunk(2, dim=1), b.chunk(2, dim=1)
    real = real_a * real_b + imaginary_a * imaginary_b
    imaginary = imaginary_a * real_b - real_a * imaginary_b
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    similarity = (real + imaginary).sum(dim=1).abs() / lengths.clamp(min=torch.finfo(lengths.dtype).tiny)
    return cosent(similarity, gold, temperature=temperature)
