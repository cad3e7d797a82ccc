"""Training steps on one GPU: tokens a second, the share of the card's own matrix rate, and waits for the device.

The encoder is random, of the size of BERT-base or BERT-large; nothing is fetched. Lengths are mixed (16 to 128) or full
(all of one length). A matrix product of 8192 x 8192 in bf16 gives the rate in the same run. A step counts as
6 · parameters · tokens floating-point operations, without embeddings and attention's own products, so the share is a
lower bound. Waits are what CUDA's sync debug mode reports within the timed steps.

    PYTHONPATH=src python perf/gpu_step.py --size large
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertModel

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.distributed import clip_gradients
from codiemb_pipeline.encoder.text_encoder import TextEncoder
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import read_params
from codiemb_pipeline.train.batch_plan import plan_epoch
from codiemb_pipeline.train.collate import PlannedBatches
from codiemb_pipeline.train.optimizer import adamw, freeze_unreached, set_learning_rate
from codiemb_pipeline.train.step import Objective, batch_loss

SIZES = {"tiny": (2, 64, 2), "base": (12, 768, 12), "large": (24, 1024, 16)}
VOCABULARY = 30_522


def matrix_rate(device: torch.device, size: int) -> float:
    """Return the floating-point operations per second of a bf16 matrix product, the best of five tens."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(6):
        _wait(device)
        begin = time.perf_counter()
        for _ in range(10):
            a @ b
        _wait(device)
        rates.append(10 * 2 * size**3 / (time.perf_counter() - begin))
    return max(rates[1:])


def batches_of(params: Params, task: str, lengths: tuple[int, int], batch: int, steps: int, folder: Path) -> DataLoader:
    """Return a loader of random texts: queries with a positive and a negative, or scored pairs."""
    generator, examples = np.random.default_rng(0), batch * steps
    rows = [generator.integers(1000, VOCABULARY, n).tolist() for n in generator.integers(*lengths, 3 * examples)]
    TokenStore.write(folder / "tokens", rows, [0] * len(rows))
    ir, ids = task == "ir", np.arange(examples)
    TrainingArrays.write(
        folder / "train",
        query=ids.tolist(),
        positives=(examples + ids[:, None]).tolist(),
        negatives=(2 * examples + ids[:, None]).tolist() if ir else [[]] * examples,
        gold=[np.nan] * examples if ir else generator.random(examples).tolist(),
        sources=[SourceRange(name="random", task=task, start=0, stop=examples)],
    )
    arrays, sampler = TrainingArrays(folder / "train"), params.train.sampler.model_copy(update={"steps_per_task": None})
    sizes = {"ir": batch, "sts": batch}
    plan = plan_epoch(arrays.sources, batch_sizes=sizes, world_size=1, accumulation=1, sampler=sampler, seed=1, epoch=0)
    rest = {"ir": params.train.ir.model_copy(update={"positives": 1}), "pad_id": 0, "padding_side": "right"}
    rest |= {
        "chunk": params.train.chunk.model_copy(update={"tokens": 65_536}),
        "process_rank": 0,
        "seed": 1,
        "epoch": 0,
    }
    dataset = PlannedBatches(plan, arrays=arrays, store=TokenStore(folder / "tokens"), **rest)
    return DataLoader(dataset, batch_size=None, num_workers=6, pin_memory=torch.cuda.is_available())


def run(model: TextEncoder, loader: DataLoader, objective: Objective, device: torch.device) -> dict[str, float]:
    """Train through the loader; return tokens per second after the first steps, and what waited for the device."""
    optimizer = adamw(model, weight_decay=0.01)
    set_learning_rate(optimizer, 1e-5)
    tokens, padded, begin, found = 0, 0, 0.0, Counter()
    with warnings.catch_warnings(record=True) as waits:
        for number, batch in enumerate(loader):
            if number == WARM_UP:
                _wait(device)
                tokens, padded, begin = 0, 0, time.perf_counter()
                waits.clear()
                warnings.simplefilter("always")
                _debug(device, "warn")
            loss, _ = batch_loss(model, batch.to(device), objective)
            loss.backward()
            clip_gradients(model, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            tokens, padded, last = tokens + batch.tokens, padded + batch.padded, number
        _debug(device, "default")
        _wait(device)
    seconds = time.perf_counter() - begin
    found.update(f"{Path(wait.filename).name}:{wait.lineno}" for wait in waits if "synchroniz" in str(wait.message))
    for place, count in found.most_common(5):
        print(f"    waits at {place}: {count / (last + 1 - WARM_UP):.1f} a step")
    return {"tokens": tokens / seconds, "padding": 1 - tokens / padded, "waits": found.total() / (last + 1 - WARM_UP)}


WARM_UP = 6


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _debug(device: torch.device, mode: str) -> None:
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


def main() -> None:
    """Print a line for each task and range of lengths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cudnn", action="store_true", help="allow cuDNN's attention, which the product turns off")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.backends.cuda.enable_cudnn_sdp(options.cudnn)
    device, (layers, width, heads) = torch.device(options.device), SIZES[options.size]
    params = Params.parse(read_params(Path("params.yaml")))
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    rate = statistics.fmean(matrix_rate(device, 8192 if device.type == "cuda" else 512) for _ in range(2))
    print(f"{name}, torch {torch.__version__}: matrix products {rate / 1e12:.0f} TFLOP/s in bf16", flush=True)
    config = BertConfig(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width
    )
    for task, lengths in [("ir", (16, 129)), ("ir", (128, 129)), ("sts", (8, 33)), ("sts", (128, 129))]:
        torch.manual_seed(0)
        model = TextEncoder(BertModel(config, add_pooling_layer=False), params.encoder).to(device).train()
        objective = Objective(ir=params.train.ir, sts=params.train.sts, mid_layer=layers // 2, bf16=True)
        with tempfile.TemporaryDirectory() as folder:
            loader = batches_of(params, task, lengths, options.batch, options.steps, Path(folder))
            freeze_unreached(model, model([next(iter(loader)).chunks[0].to(device)])[0].sum())
            if options.compile:
                model.backbone.compile(dynamic=True)
            found = run(model, loader, objective, device)
        weights = sum(value.numel() for value in model.backbone.encoder.parameters())
        shown = f"{lengths[0]}..{lengths[1] - 1}"
        flops = 6 * weights * found["tokens"]
        print(
            f"{task} lengths {shown}: {found['tokens']:,.0f} tokens/s, {flops / 1e12:.1f} TFLOP/s, "
            f"{flops / rate:.2f} of the matrix rate; padding {found['padding']:.2f}, {found['waits']:.1f} waits a step",
            flush=True,
        )


if __name__ == "__main__":
    main()
