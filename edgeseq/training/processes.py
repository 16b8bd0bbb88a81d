"""Several processes that train one network: Lightning's Fabric starts and connects them, on one machine or many.

Each process holds some of the streams; sums over all of them make the number of processes change nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.training.lightning_import import Fabric

T = TypeVar("T")

MOST_THREADS = 4
"""By default; a step of the recurrence is too small a product for more."""

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


def start(precision: str = "32", accelerator: str = "auto", devices: int | None = None, nodes: int = 1) -> Fabric:
    """Start `devices` processes on each of `nodes` machines and connect them, or join those of torchrun or SLURM.

    By default all graphics processors that there are, or one process on the CPU. Raises UsageError where there are none such.
    """
    for chatty in ("lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started the processes and says how many
        _refuse_stale_addresses()
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    count = devices or (torch.cuda.device_count() if accelerator != "cpu" and torch.cuda.is_available() else 1)
    several = count * nodes > 1
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=count,
            num_nodes=nodes,
            strategy="ddp" if several else "auto",
            precision=PRECISIONS[precision],  # type: ignore[arg-type]  # one of Fabric's own names
        )
        fabric.launch()
    except (RuntimeError, ValueError) as fault:
        raise UsageError(
            f"{count} processes on {accelerator!r} cannot be started: {fault}\n  See --devices, --nodes and --accelerator."
        ) from fault
    return fabric


def quickest_precision(accelerator: str) -> str:
    """Say in which precision a training that names none is done here: bf16 where the processor multiplies it by itself."""
    if accelerator == "cuda" or (accelerator != "cpu" and torch.cuda.is_available()):
        return "32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "32"


def _refuse_stale_addresses() -> None:
    """Raise UsageError where torchrun restarts processes but keeps one store for all its attempts.

    A process of the second attempt may then find the address of one that has ended, and never connect (torch 2.13).
    """
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UsageError(
            "torchrun is to restart processes, but keeps the addresses of those that ended, so that new ones may not connect.\n"
            "  Start it as TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun ..., or without --max-restarts."
        )


def choose_threads(wanted: int | None, processes: int, workers: int, cores: int, variable: str | None) -> int:
    """Say with how many threads each of `processes` on a machine trains, beside its `workers`, on that many cores.

    Threads wait for one another hundreds of times a step, in loops that take one core per thread: on a busy machine more
    threads than free cores are many times slower than one. `variable` is OMP_NUM_THREADS, which holds unless the recipe names a
    number.

    >>> choose_threads(None, 1, 1, 2, None), choose_threads(None, 1, 1, 64, None), choose_threads(None, 4, 1, 8, None)
    (1, 4, 1)
    >>> choose_threads(None, 1, 1, 2, "2"), choose_threads(3, 1, 1, 2, "2")
    (2, 3)
    """
    if wanted is not None:
        return wanted
    if variable is not None and variable.isdecimal() and int(variable) > 0:
        return int(variable)
    return max(1, min(MOST_THREADS, cores // processes - workers))


def set_threads(fabric: Fabric, nodes: int, wanted: int | None, workers: int) -> None:
    """Let torch compute with as many threads as `choose_threads` says; the processes are spread evenly over `nodes`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = int(os.environ.get("LOCAL_WORLD_SIZE", max(1, fabric.world_size // nodes)))
    torch.set_num_threads(choose_threads(wanted, here, workers, cores, os.environ.get("OMP_NUM_THREADS")))


def in_first(fabric: Fabric, make: Callable[[], T]) -> T | None:
    """Make something in the first process, None in the others; an EdgeseqError that comes instead is raised in all."""
    made: T | None = None
    fault: EdgeseqError | None = None
    if fabric.global_rank == 0:
        try:
            made = make()
        except EdgeseqError as caught:
            fault = caught
    fault = fabric.broadcast(fault)
    if fault is not None:
        raise fault
    return made


def own_rows(fabric: Fabric, batch_size: int) -> range:
    """Numbers of the streams that this process trains. Raises UsageError if they cannot be shared out evenly."""
    if batch_size % fabric.world_size:
        raise UsageError(
            f"train.batch_size ({batch_size}) cannot be shared out among {fabric.world_size} processes; "
            "make it a multiple of their number."
        )
    share = batch_size // fabric.world_size
    return range(fabric.global_rank * share, (fabric.global_rank + 1) * share)


def sum_up(fabric: Fabric, model: nn.Module, figures: Sequence[float]) -> list[float]:
    """Sum the gradients of `model`, and `figures`, over all processes; in one piece, so that all see the same."""
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters() if p.requires_grad]
    if fabric.world_size == 1:
        return list(figures)
    device = gradients[0].device
    flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor(figures, device=device)])
    summed = fabric.all_reduce(flat, reduce_op="sum")
    assert isinstance(summed, Tensor)
    for parameter, gradient in zip((p for p in model.parameters() if p.requires_grad), _cut(summed, gradients), strict=True):
        parameter.grad = gradient
    return [float(figure) for figure in summed[len(summed) - len(figures) :]]


def _cut(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = flat[: sum(t.numel() for t in like)].split([t.numel() for t in like])
    return [piece.view_as(t) for piece, t in zip(pieces, like, strict=True)]


def gather(fabric: Fabric, tensor: Tensor, axis: int) -> Tensor:
    """Put the parts of all processes, equal in shape, together along `axis`."""
    if fabric.world_size == 1:
        return tensor
    parts = fabric.all_gather(tensor.contiguous())
    assert isinstance(parts, Tensor)
    return torch.cat(list(parts), dim=axis)
