"""Draw tokens by their scores with few passes over the vocabulary, and nothing that the host would have to read."""

import torch

BLOCK = 512  # tokens that are summed at once, of which one is then looked for
FEW = 8 * BLOCK  # up to so many are summed one by one
CANDIDATES = 1024  # likeliest tokens that a nucleus can hold


def tokens_of(logits: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator) -> torch.Tensor:
    """One token id per row of logits (rows, vocabulary), by one random number a row.

    With `top_p` below 1 of the fewest likeliest tokens that have such a share together, at most CANDIDATES of them:
    choosing these takes a part of the time of sorting the vocabulary.
    """
    scores = logits if temperature == 1 else logits.float() / temperature
    shares = scores.softmax(dim=-1, dtype=torch.float32)
    if top_p >= 1:
        return _by_blocks(shares, generator) if shares.shape[-1] > FEW else _one_by_one(shares, generator)
    likeliest, tokens = shares.topk(min(CANDIDATES, shares.shape[-1]))
    before = likeliest.cumsum(dim=-1) - likeliest
    found = _one_by_one(likeliest.masked_fill(before >= top_p, 0), generator)
    return tokens.gather(-1, found[:, None]).squeeze(-1)


def _one_by_one(shares: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A place per row of shares, which need not sum to 1."""
    # One random number a row; torch.multinomial draws one for every token of the vocabulary.
    sums = shares.cumsum(dim=-1)
    return _place(sums, torch.rand(len(sums), 1, generator=generator, device=sums.device) * sums[:, -1:]).squeeze(-1)


def _by_blocks(shares: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The same, of many: first a block of them, then one in it. Summing all up in a row takes as long as the rest."""
    rows, count = shares.shape
    whole = count - count % BLOCK
    blocks = [shares[:, :whole].view(rows, -1, BLOCK).sum(dim=-1), shares[:, whole:].sum(dim=-1, keepdim=True)]
    sizes = torch.cat(blocks, dim=-1)
    sums = sizes.cumsum(dim=-1)
    drawn = torch.rand(rows, 1, generator=generator, device=sums.device) * sums[:, -1:]
    block = _place(sums, drawn)
    rest = drawn - (sums.gather(-1, block) - sizes.gather(-1, block))
    tokens = block * BLOCK + torch.arange(BLOCK, device=sums.device)
    inside = shares.gather(-1, tokens.clamp(max=count - 1)).masked_fill(tokens >= count, 0).cumsum(dim=-1)
    # The block was summed in another order: rounding must not lead out of it, to where nothing is likely.
    rest = torch.minimum(rest, inside[:, -1:] * (1 - 1e-6))
    return (block * BLOCK + _place(inside, rest)).squeeze(-1).clamp(max=count - 1)


def _place(sums: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """The first place per row whose sum is above `drawn` (rows, 1); some place where they are no numbers."""
    return torch.searchsorted(sums, drawn, right=True).clamp(max=sums.shape[-1] - 1)
