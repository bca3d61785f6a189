"""The additive projection of a network: what is left of it without interactions between modalities.

EMAP, Hessel and Lee, EMNLP 2020, https://aclanthology.org/2020.emnlp-main.62, for any number of modalities and with a
fixed set C of partners in place of all pairs:

    f_add(x) = sum_m mean_{c in C} f(x_m, c_{-m}) - (M - 1) mean_{c in C} f(c)

The same C for every x makes f_add equal f exactly where f is additive; partners drawn for each x by themselves would
give such a network a gain that is not there. f is the logit, or the raw output of a regression. An absent modality of x
stays absent. No labels are used. `data.partners` says which x and C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_bench.data.datamodule import MERDataModule
from mer_bench.data.partners import choose_items, choose_partners
from mer_bench.data.store import Store
from mer_bench.types import Batch, Masked, Outputs, Tasks

BATCH = 128


class Network(Protocol):
    """What can be projected."""

    device: torch.device
    tasks: Tasks

    def __call__(self, batch: Batch) -> Outputs:
        """Outputs of a batch."""
        ...

    def eval(self) -> object:
        """Switch dropout off."""
        ...


@torch.no_grad()
def additive_projection(network: Network, data: MERDataModule) -> dict[str, NDArray[np.float64]] | None:
    """Outputs of the projection for the chosen items of the test part, and zero for the others.

    Args:
        network: on the device where it is to run.
        data: of item-level tasks.

    Returns:
        (test items, size) by task, in the order of their rows; None with one modality or too few complete items.
    """
    rows = np.unique(data.views.item[data.parts["test"]])
    ids = [data.file.ids[i] for i in rows]
    complete = np.logical_and.reduce([data.file.modalities[m].present[rows] for m in data.modalities])
    partner_places, chosen = choose_partners(ids, complete), choose_items(ids)
    if len(data.modalities) < 2 or not len(partner_places):
        return None
    network.eval()
    needed = np.unique(np.concatenate([partner_places, chosen]))
    store = data.source.part(rows[needed]).on(network.device)
    total = {task: np.zeros((len(rows), spec.size)) for task, spec in data.tasks.items()}
    partners = [_gather(store, np.array([row])) for row in rows[partner_places]]
    base = _mean(network, partners)
    length = np.sum([data.lengths[m][rows[chosen]] for m in data.modalities], axis=0)
    order = chosen[np.argsort(length, kind="stable")]
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        for task, values in _mixed_means(network, _gather(store, rows[places]), partners).items():
            total[task][places] = values - (len(data.modalities) - 1) * base[task]
    return total


def _gather(store: Store, rows: NDArray[np.int64]) -> Batch:
    """Items as they are, padded to the longest."""
    items = torch.from_numpy(rows).to(next(iter(store.inputs.values())).starts.device)
    widths = {m: max(1, int(ragged.lengths.index_select(0, items).max())) for m, ragged in store.inputs.items()}
    return store.gather(items, widths, torch.zeros((len(rows), 0), device=items.device))


def _mean(network: Network, batches: Sequence[Batch]) -> dict[str, NDArray[np.float64]]:
    """Mean logits of single items, (size,) by task."""
    return {t: x[0] for t, x in _add_up(network, iter(batches), 1, len(batches)).items()}


def _mixed_means(network: Network, batch: Batch, partners: Sequence[Batch]) -> dict[str, NDArray[np.float64]]:
    """Sum over modalities of the mean over partners that lend all the others, (batch, size) by task."""
    return _add_up(network, _mixtures(batch, partners), len(batch.rows), len(partners))


def _mixtures(batch: Batch, partners: Sequence[Batch]) -> Iterator[Batch]:
    size = len(batch.rows)
    for own in batch.inputs:
        for partner in partners:
            lent = {m: Masked(*(_repeat(x, size) for x in held)) for m, held in partner.inputs.items() if m != own}
            yield batch._replace(inputs={m: batch.inputs[m] if m == own else lent[m] for m in batch.inputs})


def _repeat(values: Tensor, size: int) -> Tensor:
    return values.expand(size, *values.shape[1:]).contiguous()


def _add_up(network: Network, batches: Iterator[Batch], rows: int, divisor: int) -> dict[str, NDArray[np.float64]]:
    sums = {task: torch.zeros((rows, spec.size), dtype=torch.float64) for task, spec in network.tasks.items()}
    sums = {task: values.to(network.device) for task, values in sums.items()}
    for batch in batches:
        logits = network(batch._replace(targets={})).logits
        for task, total in sums.items():
            total += logits[task].double()
    return {task: (total / divisor).cpu().numpy() for task, total in sums.items()}
