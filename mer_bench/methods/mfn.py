"""MFN: memory fusion network (Zadeh et al., AAAI 2018, arXiv:1802.00927)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.errors import UserError
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import StackedLinear
from mer_bench.nn.streams import resample
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class MFN(FusionMethod):
    """One LSTM per modality, all on one clock; attention to how their cells change feeds a gated memory.

    Sources: sections 3.1 to 3.3 and the authors' code, github.com/pliang279/MFN. At each step c* is all cell states
    before and after it; attended = softmax(D_a(c*)) ⊙ c*; proposal = tanh(D_u(attended)); with two gates from
    [attended, memory], memory = γ₁ ⊙ memory + γ₂ ⊙ proposal. All networks have one ReLU layer with dropout. The answer
    reads the LSTMs' outputs and the memory.

    What does not depend on the memory is computed for all steps at once.

    Departures:
    - The clock (ours): item-level tasks are averaged over `tokens` stretches of each modality's own time; the paper's
      data are aligned to words. Frame-level tasks come on one clock, and every step is answered.
    - Where a modality is not observed its LSTM keeps its state; where none is, the memory keeps its own (ours).
    - One width for all LSTMs and one for all hidden layers; in the code each is searched. One bias per gate, not two.
    - Recurrent weights start by Xavier's rule (ours; torch's own start of an LSTM in the code).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of each LSTM (ours; 32 to 256 for text, 8 to 80 for the rest in the code).
        memory: width of the memory (ours; 64 to 400 in the code).
        hidden: width of the hidden layers (ours; 32 to 256 in the code).
        tokens: item-level tasks: steps of the clock (20 words in the code for MOSI).
        dropout: in all networks (ours; for each of 0, 0.2, 0.5, 0.7 in the code).

    Raises:
        UserError: `tokens` below 1.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 64,
        memory: int = 64,
        hidden: int = 64,
        tokens: int = 20,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(features, tasks)
        if tokens < 1:
            raise UserError(f"model.method.tokens must be at least 1, got {tokens}")
        self.frames, self.tokens, self.width = level_of(tasks) == "frame", tokens, memory
        all_dims = len(features) * dim

        def network(in_dim: int, out_dim: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out_dim))

        self.lstms = _LSTMs(features, dim)
        self.attention = network(2 * all_dims, 2 * all_dims)
        self.propose = network(2 * all_dims, memory)
        self.keep, self.take = network(2 * all_dims + memory, memory), network(2 * all_dims + memory, memory)
        self.heads = MLPHeads(all_dims + memory, tasks, [hidden], activation=nn.ReLU, dropout=dropout)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "compares the memories of modalities, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (output of its LSTM), ``fused``."""
        inputs = {m: batch.inputs[m] for m in self.features}
        clocked = inputs if self.frames else {m: resample(x, self.tokens) for m, x in inputs.items()}
        outputs, cells = self.lstms(clocked)  # (modalities, batch, time, dim) each
        joined = cells.movedim(0, -2).flatten(-2)  # (batch, time, all)
        before = torch.cat((torch.zeros_like(joined[:, :1]), joined[:, :-1]), dim=1)
        change = torch.cat((before, joined), dim=-1)
        attended = self.attention(change).softmax(-1) * change
        some = torch.stack([x.mask for x in clocked.values()]).any(0)
        memory = self._remember(attended, self.propose(attended).tanh(), some)
        read = slice(None) if self.frames else -1
        hidden = {m: outputs[k][:, read] for k, m in enumerate(inputs)}
        hidden["fused"] = torch.cat([*hidden.values(), memory[:, read]], dim=-1)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _remember(self, attended: Tensor, proposal: Tensor, some: Tensor) -> Tensor:
        """The memory after each step, (batch, time, memory)."""
        memory, memories = torch.zeros_like(proposal[:, 0]), []
        for t in range(proposal.shape[1]):
            both = torch.cat((attended[:, t], memory), dim=-1)
            new = self.keep(both).sigmoid() * memory + self.take(both).sigmoid() * proposal[:, t]
            memory = torch.where(some[:, t].unsqueeze(-1), new, memory)
            memories.append(memory)
        return torch.stack(memories, dim=1)


class _LSTMs(nn.Module):
    """One LSTM per modality, side by side on one clock; written out, so that it stacks and shows its cells.

    Args:
        features: the modalities.
        dim: width of each.
    """

    def __init__(self, features: Features, dim: int) -> None:
        super().__init__()
        self.inputs = nn.ModuleDict({m: nn.Linear(spec.dim, 4 * dim) for m, spec in features.items()})
        self.recurrent = StackedLinear(len(features), dim, 4 * dim, bias=False)

    def forward(self, x: dict[str, Masked]) -> tuple[Tensor, Tensor]:
        """Outputs and cells after each step, (modalities, batch, time, dim); kept where nothing is observed."""
        drive = torch.stack([linear(zeroed(x[m])) for m, linear in self.inputs.items()])
        mask = torch.stack([x[m].mask for m in self.inputs]).unsqueeze(-1)
        output = cell = torch.zeros_like(drive[:, :, 0].chunk(4, dim=-1)[0])
        outputs, cells = [], []
        for t in range(drive.shape[2]):
            gates = drive[:, :, t] + self.recurrent(output)
            take, keep, show, new = gates.chunk(4, dim=-1)
            fresh = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
            cell = torch.where(mask[:, :, t], fresh, cell)
            output = torch.where(mask[:, :, t], show.sigmoid() * fresh.tanh(), output)
            outputs.append(output)
            cells.append(cell)
        return torch.stack(outputs, dim=2), torch.stack(cells, dim=2)
