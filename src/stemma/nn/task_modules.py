"""Small stacks on a universal one, one for each kind of task."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from stemma.nn.cache import Cache
from stemma.nn.linears import Linear
from stemma.nn.masks import Mask
from stemma.nn.outputs import Inputs, Record
from stemma.nn.stacks import Stack
from stemma.spec import ends
from stemma.spec.architecture import Architecture
from stemma.spec.count import module_stack


class TaskModule(nn.Module):
    """A stack of its own width on the universal one's output, and the way back (ERNIE 3.0: Sun et al. 2021, 3.2.2).

    What goes around the stack is not published; here it is a linear map on either side. Which tokens are seen is told
    by the mask alone, so that both modules are built alike.

    Args:
        spec: the whole architecture.
        modules: the module's shape.
    """

    def __init__(self, spec: Architecture, modules: ends.TaskModules) -> None:
        super().__init__()
        self.down = Linear(spec.d_model, modules.d_model)
        self.stack = Stack(module_stack(spec, modules), causal=True)
        self.up = Linear(modules.d_model, spec.d_model)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        positions: Int[Tensor, "*rows S"],
        mask: Mask,
        virtual: Int[Tensor, "B S"] | None,
        cache: Cache | None,
        record: Record,
    ) -> Float[Tensor, "B S D"]:
        """What the heads read; see `TaskModules.forward`."""
        out: Tensor = self.up(self.stack(self.down(x), positions, mask, virtual=virtual, cache=cache, **vars(record)))
        if record.hiddens is not None:
            record.hiddens.append(out)
        return out


class TaskModules(nn.Module):
    """One module that reads both ways, for understanding, and one that continues a text, for generation.

    Args:
        spec: the whole architecture.
        modules: the shape of each.
    """

    def __init__(self, spec: Architecture, modules: ends.TaskModules) -> None:
        super().__init__()
        self.understanding = TaskModule(spec, modules)
        self.generation = TaskModule(spec, modules)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        positions: Int[Tensor, "*rows S"],
        mask: Mask,
        inputs: Inputs,
        virtual: Int[Tensor, "B S"] | None,
        cache: Cache | None,
        record: Record,
    ) -> Float[Tensor, "B S D"]:
        """What the heads read.

        Args:
            x: the universal stack's output.
            positions: of each token in its text.
            mask: which keys are seen.
            inputs: which tell the task.
            virtual: numbers of the virtual tokens, if there are any.
            cache: that of the whole network, which holds the module's own.
            record: where the module's hidden states and maps are put, after the universal stack's.
        """
        module = self.understanding if inputs.understanding else self.generation
        out: Tensor = module(x, positions, mask, virtual, None if cache is None else cache.module, record)
        return out
