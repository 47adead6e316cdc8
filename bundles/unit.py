"""Networks of a bundle as one torch module in the target's unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from matloop.bundles.networks import Member
from matloop.bundles.rotations import together
from matloop.search_spaces.networks.module import build_scaled
from matloop.search_spaces.networks.program.scaling import scaled


class InUnits(nn.Module):
    """From raw inputs to the target's unit; of several networks the mean, or the logarithm of the mean probability.

    Orientations are unit quaternions.

    Args:
        members: at least one, of the same task.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(_whole(member) for member in members)
        self.classes, self.symmetry = "classes" in members[0].scales, str(members[0].scales.get("symmetry", ""))
        self.eval()

    def forward(self, x: Any) -> torch.Tensor:
        """(n, *input) of any numbers, or graphs, to (n, outputs, ...) float32."""
        found = torch.stack([network(x) for network in self.networks])
        if self.symmetry:
            return together(found, self.symmetry).to(found)
        if len(self.networks) == 1:
            return found[0]
        if self.classes:
            return torch.log_softmax(found, dim=2).logsumexp(dim=0) - math.log(len(self.networks))
        return found.mean(dim=0)


def _whole(member: Member) -> nn.Module:
    own = {b.name for b in scaled(member.genome, member.scales, outputs=False).program.buffers}
    state = {name: value for name, value in member.network.state_dict().items() if name not in own}
    return build_scaled(member.genome, state, member.scales)
