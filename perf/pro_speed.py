"""PRO forward and backward, all pairs at once against a loop over the pairs, in one run on one thread.

    PYTHONPATH=src .venv/bin/python perf/pro_speed.py --pairs 512

Prints the time of each per call, the ratio (aim: 20 or more at 512 pairs) and how far their values and gradients are
apart. The loop is the formula read aloud, as a reader of the paper would write it. Knows no model.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from codiemb_pipeline.losses.pro import pro

TEMPERATURE = 0.05


def pro_by_loop(predicted: Tensor, gold: Tensor) -> Tensor:
    """PRO of (n,) similarities and scores, one softmax per pair that has a tail."""
    order = gold.argsort(descending=True)
    similarities, scores = predicted[order] / TEMPERATURE, gold[order]
    losses = []
    for k in range(len(scores) - 1):
        weights = scores[k] - scores[k + 1 :]
        tail = weights > 1e-8
        if not tail.any():
            continue
        own = (weights[tail].max() * similarities[k]).unsqueeze(0)
        others = weights[tail] * similarities[k + 1 :][tail]
        losses.append(-torch.cat([own, others]).log_softmax(dim=0)[0])
    return torch.stack(losses).mean()


def pro_at_once(predicted: Tensor, gold: Tensor) -> Tensor:
    """The pipeline's."""
    return pro(predicted, gold, temperature=TEMPERATURE)


def measure(loss: Callable[[Tensor, Tensor], Tensor], predicted: Tensor, gold: Tensor, repeats: int) -> tuple:
    """Return the median seconds of a forward and backward, the value and the gradient; the first call is a warm-up."""
    seconds = []
    for _ in range(repeats + 1):
        leaf = predicted.clone().requires_grad_()
        start = perf_counter()
        value = loss(leaf, gold)
        value.backward()
        seconds.append(perf_counter() - start)
    return median(seconds[1:]), value.detach(), leaf.grad


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=512, help="pairs in the list (default: 512)")
    parser.add_argument("--repeats", type=int, default=9, help="timed calls of each, median reported (default: 9)")
    arguments = parser.parse_args()
    if arguments.pairs < 2 or arguments.repeats < 1:
        parser.error("--pairs must be 2 or more and --repeats 1 or more")
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(49)
    predicted = torch.rand(arguments.pairs, generator=generator) * 2 - 1
    gold = torch.arange(arguments.pairs).remainder(51) / 50  # ties, as human scores have them
    loop_seconds, loop_value, loop_gradient = measure(pro_by_loop, predicted, gold, arguments.repeats)
    seconds, value, gradient = measure(pro_at_once, predicted, gold, arguments.repeats)
    print(f"PRO, {arguments.pairs} pairs, forward and backward, one thread, median of {arguments.repeats}")
    print(f"  loop over pairs  {loop_seconds * 1e3:9.2f} ms")
    print(f"  all at once      {seconds * 1e3:9.2f} ms")
    print(f"  ratio            {loop_seconds / seconds:9.1f} times (aim: 20 at 512 pairs)")
    apart = abs(loop_value - value), (loop_gradient - gradient).abs().max()
    print(f"  values differ by {apart[0]:.1e}, gradients by at most {apart[1]:.1e}")


if __name__ == "__main__":
    main()
