"""Cyclic consistent cross-attention: Equations 17 to 20."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def cycle_bias(affinity: Tensor, mask: Tensor) -> Tensor:
    """What is added to the affinity of every query: 0 for consistent keys, -inf for the others.

    A key is consistent if the query that it is nearest to is itself nearest to a key on the same side of the mask. A head
    without one consistent key is left as it is: a softmax over nothing would be NaN.

    Args:
        affinity: (B, H, N, L) of N queries and L keys, H heads.
        mask: (B, H, L) or (B, 1, L) bool, which keys lie on the object.

    Returns:
        (B, H, 1, L).
    """
    query_of_key = affinity.argmax(2)  # i*, Equation 17: (B, H, L)
    key_of_query = affinity.argmax(3)  # Equation 18 for every i: (B, H, N)
    returned = key_of_query.gather(2, query_of_key)  # j*
    sides = mask.expand(affinity.shape[0], affinity.shape[1], -1)
    consistent = sides == sides.gather(2, returned)  # Equation 19
    consistent = consistent | ~consistent.any(2, keepdim=True)
    return torch.zeros_like(affinity[:, :, :1]).masked_fill_(~consistent[:, :, None], -torch.inf)


class CycleAttention(nn.Module):
    """Attention of several heads in which queries look only at cyclic consistent keys; parameters as `nn.MultiheadAttention` has them."""

    def __init__(self, width: int, heads: int, *, cyclic: bool = True, mixed_masks: bool = False) -> None:
        """Make the layer.

        Args:
            width: of queries, keys and values.
            heads: how many share it.
            cyclic: False for plain attention.
            mixed_masks: give heads the masks of other images of the batch, as the released code does by mistake: its
                masks are laid out by head, its queries by image. Without effect on a batch of one.
        """
        super().__init__()
        self.heads, self.cyclic, self.mixed_masks = heads, cyclic, mixed_masks
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Queries (B, N, C), keys and values (B, L, C) and the keys' mask (B, L) bool give (B, N, C): Equation 20."""
        return self.attended(query, key, value, mask)[0]

    def attended(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and the weights (B, H, N, L) beside."""
        parts = zip((query, key, value), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        heads = [functional.linear(tokens, *map_).view(*tokens.shape[:2], self.heads, -1).transpose(1, 2) for tokens, *map_ in parts]
        queries, keys, values = heads  # (B, H, N or L, C / H)
        affinity = queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
        if self.cyclic:
            affinity = affinity + cycle_bias(affinity.detach(), self._masks_of_heads(mask))
        weights = affinity.softmax(3)
        return self.out_proj((weights @ values).transpose(1, 2).flatten(2)), weights

    def _masks_of_heads(self, mask: Tensor) -> Tensor:
        if self.mixed_masks:
            return mask.repeat(self.heads, 1).view(len(mask), self.heads, -1)
        return mask[:, None]
