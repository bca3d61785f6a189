"""A small method that provides every hidden name, for losses whose own method is not among the shipped ones."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder, at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks

DIM = 8
WAYS = {"multiclass": 1, "multilabel": 2}  # against each label and for it


class Everything(FusionMethod):
    """Shared and private parts of each modality, decoders, own heads, and imagination of each from the others."""

    def __init__(self, features: Features, tasks: Tasks) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        self.encoders = nn.ModuleDict({m: ModalityEncoder(s, DIM, level=self.level) for m, s in features.items()})
        self.shared = nn.Linear(DIM, DIM)
        self.private = nn.ModuleDict({m: nn.Linear(DIM, DIM) for m in features})
        self.decoders = nn.ModuleDict({m: nn.Linear(DIM, s.dim) for m, s in features.items()})
        self.identity = nn.Linear(DIM, len(features))
        self.alone = nn.ModuleDict({m: Heads(DIM, tasks) for m in features})
        self.imagine = nn.ModuleDict({m: nn.Linear(DIM, DIM) for m in features})
        self.cycle = nn.ModuleDict({m: nn.Linear(DIM, DIM) for m in features})
        choices = {name: spec for name, spec in tasks.items() if spec.kind != "regression"}
        twice = {name: replace(spec, names=spec.names * WAYS[spec.kind]) for name, spec in choices.items()}
        self.evidence = Heads(DIM, twice)
        self.judge = nn.Linear(DIM, 1)
        self.heads = Heads(DIM, tasks)

    def forward(self, batch: Batch) -> Outputs:
        found = {m: encoder(batch.inputs[m]) for m, encoder in self.encoders.items()}
        hidden: dict[str, Tensor] = {}
        for m, x in found.items():
            shared, private = (part(x.values).sigmoid() for part in (self.shared, self.private[m]))
            hidden |= {m: x.values, f"shared/{m}": shared, f"private/{m}": private}
            hidden[f"decoded/{m}"] = self.decoders[m](shared + private)
            hidden[f"input/{m}"] = at_level(batch.inputs[m], self.level).values
            hidden |= {f"again/{m}": self.private[m](shared), f"aligned/{m}": self.shared(x.values)}
            for kind, part in (("homogeneous", shared), ("heterogeneous", private)):
                hidden |= {f"{kind}/{m}/{task}": y for task, y in self.heads(part).items()}
            hidden[f"identity/{m}"] = self.identity(private)
            hidden |= {f"logits/{m}/{task}": y for task, y in self.alone[m](x.values).items()}
            hidden |= {f"evidence/{m}/{task}": F.softplus(y) for task, y in self.evidence(x.values).items()}
            hidden[f"completeness/{m}"] = self.judge(x.values).sigmoid()
        imagined = {
            m: self.imagine[m](_mean_of({n: x for n, x in found.items() if n != m}, x)) for m, x in found.items()
        }
        hidden |= {f"imagined/{m}": x for m, x in imagined.items()}
        for m, x in found.items():
            others = {n: Masked(y, found[m].mask) for n, y in imagined.items() if n != m}
            hidden[f"cycled/{m}"] = self.cycle[m](_mean_of(others, x))
        hidden["fused"] = _mean_of(found, next(iter(found.values())))
        hidden |= {f"evidence/{task}": F.softplus(y) for task, y in self.evidence(hidden["fused"]).items()}
        pairs = max(len(found) * (len(found) - 1), 1)
        hidden |= {
            f"edges/{kind}": self.judge(hidden["fused"]).sigmoid().expand(*hidden["fused"].shape[:-1], pairs)
            for kind in ("homogeneous", "heterogeneous")
        }
        hidden |= {f"common/{task}": y for task, y in self.heads(hidden["fused"]).items()}
        hidden |= {f"judged/{what}": self.judge(hidden["fused"]) for what in ("whole", "corrected")}
        return Outputs(self.heads(hidden["fused"]), hidden)


def _mean_of(parts: dict[str, Masked], like: Masked) -> Tensor:
    if not parts:
        return torch.zeros_like(like.values)
    values = torch.stack([zeroed(x) for x in parts.values()], dim=-2)
    return masked_mean(Masked(values, torch.stack([x.mask for x in parts.values()], dim=-1)))
