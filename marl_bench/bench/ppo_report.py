"""What `bench ppo` found, as tables and Markdown."""

import statistics
from collections.abc import Mapping

from marl_bench.bench.peers.turns import PHASES
from marl_bench.bench.ppo import FAST, MACRO_RULE, CaseResult, Contender, PpoBenchResult, own_options
from marl_bench.bench.ppo_cases import KL_COEF, LEARNING_RATE, TEMPERATURE
from marl_bench.reporting.formatting import NONE
from marl_bench.reporting.rendering import as_markdown as table_as_markdown
from marl_bench.reporting.tables import Table

_MIB = 1024 * 1024


def tables(result: PpoBenchResult) -> list[Table]:
    """Returns speed, phases, memory, waste, the floor, and token against macro PPO."""
    found = [_speed(result), _phases(result), _memory(result), _waste(result), _floor(result)]
    return [*found, _macro(result)] if result.macro is not None else found


def as_markdown(result: PpoBenchResult, *, command: str) -> str:
    """Returns the tables as one Markdown document.

    Args:
        result: What was found.
        command: The call that makes the document again.
    """
    parts = ["# One PPO update, side by side", f"Made by `{command}`. {_settings_text(result)}"]
    for table in tables(result):
        parts += [f"## {table.title}", table_as_markdown(table)]
    return "\n\n".join(parts) + "\n"


def _settings_text(result: PpoBenchResult) -> str:
    own, peers = result.settings.own, result.settings.peers
    options = [
        f"{section}.{key}={value}"
        for section, values in own_options(result.cases[0].case)[FAST].items()
        for key, value in values.items()
    ]
    text = (
        f"Random weights, temperature {TEMPERATURE}, learning rate {LEARNING_RATE:g}, KL coefficient {KL_COEF}, clip 0.2 for ratio and value, "
        f"advantages whitened, one minibatch an epoch, Adam (.9, .95); rows of a pass: {own.micro_batch} with gradients, {own.score_batch} "
        f"without, {own.rollout_batch} in sampling. Fast: {', '.join(options)} (four rows of full length in every case)."
    )
    peer = result.cases[0].peer
    if peer is None:
        return text
    versions = ", ".join(f"{name} {version}" for name, version in peer.versions.items())
    return (
        f"{text} Peer: {versions}, its trainer unmodified, nothing logged or saved; {peers.micro_batch} rows with gradients and "
        f"{peers.rollout_batch} without, no gradient checkpointing."
    )


def _rows(result: PpoBenchResult) -> list[tuple[CaseResult, Contender]]:
    return [(case, contender) for case in result.cases for contender in case.contenders]


def _speed(result: PpoBenchResult) -> Table:
    rows = []
    for case, contender in _rows(result):
        speed, wall = case.speed(contender), case.speed(contender, wall=True)
        ratio = [NONE, NONE, NONE]
        if speed is not None and wall is not None:
            ratio = [f"{speed.estimate:.2f} x", f"[{speed.low:.2f}, {speed.high:.2f}]", f"{wall.estimate:.2f} x"]
        samples = case.case.batch / contender.cpu_seconds
        rows.append([case.case.name, case.case.size, contender.name, f"{samples:,.1f}", *ratio])
    return Table(
        "Samples a second",
        ["Case", "Size", "Trainer", "Samples/s", "Times the peer's", "95 % interval", "By wall clock"],
        rows,
        note=(
            "Size: responses x (prompt + response tokens at most). One thread; by processor time, which other programs do not stretch; "
            "medians; the ratio is the geometric mean over rounds in which the trainers take turns."
        ),
        text_columns=3,
    )


def _phases(result: PpoBenchResult) -> Table:
    rows = []
    for case, contender in _rows(result):
        response = contender.response_tokens
        trained = case.case.ppo_epochs * (case.prompt_tokens + response)
        seconds = {phase: contender.phase_seconds(phase) for phase in PHASES}
        rows.append(
            [
                case.case.name,
                contender.name,
                *(f"{seconds[phase]:.3f}" for phase in PHASES),
                f"{contender.cpu_seconds:.2f}",
                f"{response / case.case.batch:.0f}",
                f"{response / seconds['generation']:,.0f}",
                f"{trained / seconds['update']:,.0f}",
            ]
        )
    heads = ["Generation s", "Scoring s", "Update s", "Optimizer s", "All s"]
    return Table(
        "Time by phase",
        ["Case", "Trainer", *heads, "Tokens a response", "Generated tokens/s", "Trained tokens/s"],
        rows,
        note=(
            "Scoring: reference log-probs, values, reward, advantages. Update: forward and backward passes of policy and critic. Trained "
            "tokens: those of prompts and responses, padding not counted, once an epoch."
        ),
        text_columns=2,
    )


def _memory(result: PpoBenchResult) -> Table:
    rows = []
    for case, contender in _rows(result):
        updates = (contender.first, *contender.updates)
        peaks = [max(update.phases.get(phase, {}).get("peak_mebibytes", 0) for update in updates) for phase in PHASES]
        counts = contender.first.counts or {}
        rows.append(
            [
                case.case.name,
                contender.name,
                f"{contender.loaded_mebibytes:,.0f}",
                f"{contender.peak_mebibytes:,.0f}",
                f"{contender.peak_mebibytes - contender.loaded_mebibytes:,.0f}",
                *(f"{peak:,.0f}" for peak in peaks),
                f"{counts.get('largest_logits', 0) / _MIB:,.1f}",
            ]
        )
    return Table(
        "Resident memory of each process, MiB",
        ["Case", "Trainer", "Loaded", "Peak", "Above loaded", *(f"Peak in {phase}" for phase in PHASES), "Logits"],
        rows,
        note="Loaded: libraries and models before the first update. Logits: the largest output of a head.",
        text_columns=2,
    )


def _waste(result: PpoBenchResult) -> Table:
    rows = []
    for case, contender in _rows(result):
        counts = contender.first.counts or {}
        response = contender.first.response_tokens
        text, epochs = case.prompt_tokens + response, case.case.ppo_epochs
        # Prompts in sampling; reference, critic and reward model; policy and critic in every epoch. Only the reward model needs last tokens.
        needed = case.prompt_tokens + text + (2 + 2 * epochs) * (text - case.case.batch)
        positions, decoded = counts.get("positions", 0), counts.get("decoded", 0)
        rows.append(
            [
                case.case.name,
                contender.name,
                f"{positions:,}",
                _percent(1 - needed / max(positions, 1)),
                f"{decoded:,}",
                _percent(1 - (response - case.case.batch) / max(decoded, 1)),
            ]
        )
    return Table(
        "Padding",
        ["Case", "Trainer", "Positions", "Of them needless", "Decoded", "Of them after the end"],
        rows,
        note=(
            "Of the first update. Positions: of all forward passes over whole texts; needless are padding and last tokens. Decoded: rows of all "
            "passes over one new token; a row that has ended and is still computed counts as waste, and so does the pass over a last token."
        ),
        text_columns=2,
    )


def _floor(result: PpoBenchResult) -> Table:
    rows = []
    for case in result.cases:
        for own in case.own:
            needed = case.needed(own)
            least = {phase: needed[phase].seconds(result.machine) for phase in PHASES}
            shares = [_percent(least[phase] / max(own.phase_seconds(phase), 1e-9)) for phase in PHASES]
            whole = sum(least.values())
            operations = f"{sum(need.operations for need in needed.values()) / 1e9:,.1f}"
            rows.append(
                [case.case.name, own.name, operations, *shares, _percent(whole / own.cpu_seconds), f"{whole:.2f}"]
            )
    machine = result.machine
    return Table(
        "How near this package is to the floor",
        ["Case", "Trainer", "Needed GFLOP", *(phase.capitalize() for phase in PHASES), "Whole update", "Floor s"],
        rows,
        note=(
            f"Floor: needed operations over {machine.matrix_rate / 1e9:.0f} GFLOP/s (a product of 1,024 x 1,024 matrices, the faster of "
            f"{_rates(machine.rates)}) or needed bytes over {machine.bandwidth / 1e9:.1f} GB/s (a copy), whichever takes longer; all measured "
            "just before. Shares: floor over measured."
        ),
        text_columns=2,
    )


def _macro(result: PpoBenchResult) -> Table:
    assert result.macro is not None  # the caller has looked
    found, ratio = result.macro, result.macro.ratio
    medians = [f"{1000 * statistics.median(each):,.1f}" for each in (found.token_seconds, found.macro_seconds)]
    row = [MACRO_RULE, *medians, f"{ratio.estimate:.3f}", f"[{ratio.low:.3f}, {ratio.high:.3f}]"]
    return Table(
        "Token against macro PPO",
        ["macro_ppo", "token_ppo ms", "macro_ppo ms", "Ratio", "95 % interval"],
        [row],
        note="The update alone, on the same 32 responses of the shipped tiny model, as in bench macro.",
    )


def _rates(rates: Mapping[str, float]) -> str:
    return " and ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
