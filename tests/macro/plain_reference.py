"""The method for one response in plain Python lists: slow, obvious, and written from the definitions, not from the library.

A response's macro actions are `parts`: lists of token positions, in order; an empty list is an empty macro action.
"""

import itertools
import math
from collections.abc import Sequence

Parts = Sequence[Sequence[int]]


def parts_of_starts(starts: Sequence[int], length: int) -> list[list[int]]:
    """Returns the parts of a response whose macro actions begin at `starts` (and at 0)."""
    cuts = sorted({0, *starts, length})
    return [list(range(begin, end)) for begin, end in itertools.pairwise(cuts)]


def last_token_alone(parts: Parts) -> list[list[int]]:
    """Returns the parts with the last token as a part of its own, and what is left of the part it stood in, maybe nothing."""
    if not parts:
        return []
    return [*map(list, parts[:-1]), list(parts[-1][:-1]), [parts[-1][-1]]]


def kl_estimate(log_prob: float, ref_log_prob: float, estimator: str) -> float:
    """Returns k1, k2 or k3 of one token."""
    ratio = math.exp(ref_log_prob - log_prob)
    return {"k1": -math.log(ratio), "k2": math.log(ratio) ** 2 / 2, "k3": ratio - 1 - math.log(ratio)}[estimator]


def macro_rewards(
    kl_rewards: Sequence[float], score: float, parts: Parts, *, reduction: str, gamma: float
) -> list[float]:
    """Returns the reward of each macro action."""
    rewards = []
    for part in parts:
        if reduction == "mean":
            rewards.append(sum(kl_rewards[t] for t in part) / len(part) if part else 0.0)
            if part is parts[-1]:
                rewards[-1] += score
        else:
            last = parts[-1][-1]
            rewards.append(sum(gamma**i * (kl_rewards[t] + (score if t == last else 0.0)) for i, t in enumerate(part)))
    return rewards


def macro_values(values: Sequence[float], parts: Parts, *, pooling: str) -> list[float]:
    """Returns the pooled value of each macro action; 0 for an empty one."""
    pooled = []
    for part in parts:
        tau = len(part)
        raw = {
            "equal": [1.0] * tau,
            "last": [0.0] * (tau - 1) + [1.0] * (tau > 0),
            "first": [1.0] * (tau > 0) + [0.0] * (tau - 1),
            "position_late": [1 / (tau - i) for i in range(tau)],
            "position_early": [1 / (i + 1) for i in range(tau)],
        }[pooling]
        pooled.append(sum(w * values[t] for w, t in zip(raw, part, strict=True)) / sum(raw) if part else 0.0)
    return pooled


def advantages(
    rewards: Sequence[float],
    values: Sequence[float],
    parts: Parts,
    *,
    gamma: float,
    gae_lambda: float,
    lambda_per: str,
    end_value: float = 0.0,
) -> list[float]:
    """Returns A_m as the sum of all later deltas, each with the discounts and lambdas between them: no recursion."""
    following = [*values[1:], *[end_value] * bool(values)]
    deltas = [
        r + gamma ** len(part) * after - v for r, part, after, v in zip(rewards, parts, following, values, strict=True)
    ]
    result = []
    for m in range(len(parts)):
        total, weight = 0.0, 1.0
        for j in range(m, len(parts)):
            total += weight * deltas[j]
            tau = len(parts[j])
            weight *= gamma**tau * (gae_lambda if lambda_per == "macro" else gae_lambda**tau)
        result.append(total)
    return result


def on_tokens(macro: Sequence[float], parts: Parts) -> list[float]:
    """Returns each token with the number of its macro action."""
    return [number for number, part in zip(macro, parts, strict=True) for _ in part]


def log_ratios(new: Sequence[float], old: Sequence[float], parts: Parts, *, level: str) -> list[float]:
    """Returns each token's log-ratio at the level."""
    result = []
    for part in parts:
        differences = [new[t] - old[t] for t in part]
        if level == "token":
            result += differences
        elif level == "macro":
            result += [sum(differences)] * len(part)
        else:
            result += [sum(differences) / len(part)] * len(part) if part else []
    return result


def loss_weights(batch: Sequence[Parts], *, average: str) -> list[list[float]]:
    """Returns each token's weight, of a whole optimizer step."""
    tokens = sum(len(part) for parts in batch for part in parts)
    macros = sum(bool(part) for parts in batch for part in parts)
    weights = []
    for parts in batch:
        length = sum(len(part) for part in parts)
        row: list[float] = []
        for part in parts:
            weight = {
                "token": 1 / tokens if tokens else 0.0,
                "macro": 1 / (len(part) * macros) if part else 0.0,
                "sequence": 1 / (length * len(batch)) if length else 0.0,
            }[average]
            row += [weight] * len(part)
        weights.append(row)
    return weights


def policy_loss(log_ratio: float, advantage: float, *, clip_range: float) -> float:
    """Returns the clipped surrogate loss of one token."""
    ratio = math.exp(log_ratio)
    inside = min(max(ratio, 1 - clip_range), 1 + clip_range)
    return -min(ratio * advantage, inside * advantage)


def value_loss(value: float, old: float, target: float, *, clip_range: float) -> float:
    """Returns the value loss of one token."""
    loss = (value - target) ** 2 / 2
    if clip_range == 0:
        return loss
    near = min(max(value, old - clip_range), old + clip_range)
    return max(loss, (near - target) ** 2 / 2)


def whitened(batch: Sequence[Sequence[float]]) -> list[list[float]]:
    """Returns all tokens with mean 0 and standard deviation 1."""
    every = [number for row in batch for number in row]
    if not every:
        return [[] for _ in batch]
    mean = sum(every) / len(every)
    deviation = math.sqrt(sum((number - mean) ** 2 for number in every) / len(every))
    return [[(number - mean) / (deviation + 1e-8) for number in row] for row in batch]


# Termination rules: each returns the positions at which macro actions begin, 0 left out.


def fixed_starts(length: int, *, n: float) -> list[int]:
    """Every n tokens."""
    return [t for t in range(1, length) if t % n == 0]


def perplexity_starts(nll: Sequence[float], *, rule: str) -> list[int]:
    """Where a token surprises more than what stands before it."""
    starts = []
    current = [*nll[:1]]
    for t in range(1, len(nll)):
        before = {"macro": current, "prefix": nll[:t], "token": nll[t - 1 : t]}[rule]
        if nll[t] * len(before) > sum(before):
            starts.append(t)
            current = []
        current.append(nll[t])
    return starts


def entropy_starts(entropies: Sequence[float], *, quantile: float) -> list[int]:
    """Above the quantile of the response: the smallest entropy that at least that share of the tokens does not exceed."""
    if not entropies:
        return []
    share = {e: sum(other <= e for other in entropies) / len(entropies) for e in entropies}
    limit = min(e for e in entropies if share[e] >= quantile - 1e-12)
    return [t for t, e in enumerate(entropies) if e > limit and t > 0]


def surprise_budget_starts(nll: Sequence[float], *, nats: float) -> list[int]:
    """After the token that fills the budget."""
    starts: list[int] = []
    begin = 0
    for t in range(1, len(nll)):
        if sum(nll[begin:t]) >= nats:
            starts.append(t)
            begin = t
    return starts


def value_change_starts(values: Sequence[float], *, threshold: float) -> list[int]:
    """Where neighbouring values differ."""
    return [t for t in range(1, len(values)) if abs(values[t] - values[t - 1]) > threshold]


def merged_starts(ids: Sequence[int], merges: Sequence[tuple[int, int]], *, first_merged: int) -> list[int]:
    """Starts of the symbols after all merges."""
    symbols = [(token, 1) for token in ids]
    for index, (left, right) in enumerate(merges):
        result: list[tuple[int, int]] = []
        while symbols:
            if len(symbols) > 1 and symbols[0][0] == left and symbols[1][0] == right:
                result.append((first_merged + index, symbols[0][1] + symbols[1][1]))
                symbols = symbols[2:]
            else:
                result.append(symbols[0])
                symbols = symbols[1:]
        symbols = result
    starts, place = [], 0
    for _, length in symbols:
        starts.append(place)
        place += length
    return starts[1:]


def boundary_starts(text: str, ends: Sequence[int], *, clauses: bool) -> list[int]:
    """The token after each one that holds the last character of a sentence (or clause); none after the end of the text."""
    boundaries = {b for b in _boundaries(text, clauses=clauses) if b < len(text)}
    starts = []
    for t in range(1, len(ends)):
        before = ends[t - 2] if t > 1 else 0
        if any(before < b <= ends[t - 1] for b in boundaries):
            starts.append(t)
    return starts


def _boundaries(text: str, *, clauses: bool) -> set[int]:
    found = set()
    i = 0
    while i < len(text):
        end = _mark_end(text, i, clauses=clauses)
        if end is not None:
            i = _behind_newlines(text, end)
            found.add(i)
        elif text[i] == "\n":
            i = _behind_newlines(text, i)
            found.add(i)
        else:
            i += 1
    return found


def _mark_end(text: str, i: int, *, clauses: bool) -> int | None:
    """Returns the end of the punctuation that begins at i and ends a sentence or clause, closing quotes included."""

    def run(j: int, characters: str) -> int:
        while j < len(text) and text[j] in characters:
            j += 1
        return j

    closers = "\"'”’»)]}」』）】"
    if text[i] in "。！？｡।॥":
        return run(run(i, "。！？｡।॥"), closers)
    if clauses and text[i] in "，、；：—":
        return run(run(i, "，、；：—"), closers)
    if text[i] in ".!?…؟۔":
        end = run(run(i, ".!?…؟۔"), closers)
    elif clauses and text[i] in ",;:،؛–":
        end = run(i + 1, closers)
    elif clauses and text.startswith("--", i):
        end = run(i + 2, closers)
    else:
        return None
    return end if end == len(text) or text[end].isspace() else None


def _behind_newlines(text: str, i: int) -> int:
    end = i
    for j in range(i, len(text)):
        if text[j] not in " \t\r\n":
            break
        if text[j] == "\n":
            end = j + 1
    return end


def constituent_starts(tree: object, tokens: Sequence[int], *, cutoff: int) -> list[int]:
    """Phrases of fewer tokens than the cutoff; words join what stands before them."""
    counts = iter(tokens)
    starts: list[int] = []
    place = 0

    def weigh(node: object) -> object:
        return next(counts) if isinstance(node, str) else [weigh(child) for child in node]  # type: ignore[attr-defined]

    def leaves(node: object) -> list[int]:
        if isinstance(node, int):
            return [node] if node else []
        return [count for child in node for count in leaves(child)]  # type: ignore[attr-defined]

    def walk(node: object) -> None:
        nonlocal place
        counted = leaves(node)
        if len(counted) > 1 and sum(counted) >= cutoff:
            for child in node:  # type: ignore[attr-defined]
                walk(child)
            return
        if len(counted) > 1 or (counted and place == 0):
            starts.append(place)
        place += sum(counted)

    walk(weigh(tree))
    return starts
