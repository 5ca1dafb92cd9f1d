"""What best-of-N and temperature sweeps say, in plain sentences."""

from collections.abc import Iterator, Sequence

from marl_bench.reporting.comparison import ORACLE
from marl_bench.reporting.formatting import metric_name, number, percent, signed
from marl_bench.sampling_curves import SamplingCurves, SamplingDifference, SamplingPoint


def best_of_n_sentences(curves: SamplingCurves) -> Iterator[str]:
    """Yields how far choosing carries each arm, where it is over-optimised, and what it means for the trained arms."""
    for label in dict.fromkeys(point.label for point in curves.points):
        own = [found for found in curves.differences if found.label == found.reference == label]
        yield from _gain_sentences(own)
        yield from _turn_sentences(curves, own)
    against = [found for found in curves.differences if found.label != found.reference]
    for label in dict.fromkeys(found.label for found in against):
        yield _against_sentence(curves, [found for found in against if found.label == label])


def temperature_sentences(curves: SamplingCurves) -> Iterator[str]:
    """Yields where another temperature would have been better than that of training, and whether arms keep their order."""
    along = [found for found in curves.differences if found.label == found.reference]
    for found in along:
        name = f"{found.label}, {metric_name(found.metric)}"
        gap = f"{signed(-found.delta)} {_flipped(found)}"
        if found.direction < 0:
            yield f"{name}: better at T = {found.reference_x:g} than at T = {found.x:g} of training; {gap}."
        else:
            yield (
                f"{name}: highest at T = {found.reference_x:g}, but no difference to T = {found.x:g} of training can be shown; {gap}."
            )
    between = [found for found in curves.differences if found.label != found.reference]
    for label, metric in dict.fromkeys((found.label, found.metric) for found in between):
        yield _order_sentence([found for found in between if (found.label, found.metric) == (label, metric)])


def _gain_sentences(own: Sequence[SamplingDifference]) -> Iterator[str]:
    gains = [found for found in own if found.reference_x == 1]
    if gains:
        first = gains[0]
        parts = ", ".join(f"{metric_name(found.metric)} {_size(found)}" for found in gains)
        yield f"{first.label}: the best of {first.x:g} instead of one response: {parts}."


def _turn_sentences(curves: SamplingCurves, own: Sequence[SamplingDifference]) -> Iterator[str]:
    if not any(found.metric == ORACLE for found in own) or curves.score == ORACLE:
        return
    turn = {found.metric: found for found in own if found.reference_x > 1}
    gain = {found.metric: found for found in own if found.reference_x == 1}
    oracle, score = turn.get(ORACLE), turn.get(curves.score)
    whole = gain.get(ORACLE)
    if oracle is not None and score is not None and oracle.direction < 0:
        rises = "still rises" if score.direction > 0 else "does not rise any more"
        yield (
            f"{oracle.label}: over-optimised beyond N = {oracle.reference_x:g}: up to N = {oracle.x:g} the oracle falls, {_size(oracle)}, "
            f"while the {metric_name(curves.score)} {rises}, {_size(score)}."
        )
    elif oracle is not None:
        yield (
            f"{oracle.label}: the oracle is highest at N = {oracle.reference_x:g}; "
            f"a fall up to N = {oracle.x:g} cannot be shown, {_size(oracle)}."
        )
    elif whole is not None and whole.direction < 0:
        yield f"{whole.label}: over-optimised from the start: choosing by {metric_name(curves.score)} lowers the oracle."
    elif whole is not None and whole.direction > 0:
        yield f"{whole.label}: no over-optimisation up to N = {whole.x:g}: the oracle is highest there."


def _against_sentence(curves: SamplingCurves, against: Sequence[SamplingDifference]) -> str:
    first = against[0]
    own, other = _kl(curves, first.label, first.x), _kl(curves, first.reference, first.reference_x)
    parts = "; ".join(f"{metric_name(found.metric)} {_size(found)}, {_verdict(found)}" for found in against)
    furthest = max(
        (point for point in curves.points if point.label == first.reference), key=lambda point: point.x, default=None
    )
    beyond = ""
    if own is not None and furthest is not None and furthest.kl is not None and own > furthest.kl:
        beyond = f" No N up to {furthest.x:g} spends as much KL as the arm."
    at = f" ({number(own)} nats)" if own is not None else ""
    bound = f" (at most {number(other)} nats)" if other is not None else ""
    reached = _reached(curves, first)
    return f"{first.label}{at} against the best of {first.reference_x:g} from {first.reference}{bound}: {parts}.{beyond}{reached}"


def _verdict(found: SamplingDifference) -> str:
    return {1: "training does better", -1: "best-of-N does better", 0: "no difference can be shown"}[found.direction]


def _reached(curves: SamplingCurves, found: SamplingDifference) -> str:
    """Returns from which N on SFT has the arm's mean score, and what it then has in oracle."""
    own = _point(curves, found.label, found.x, curves.score)
    reference = [point for point in curves.points if point.label == found.reference and point.metric == curves.score]
    if own is None or not reference:
        return ""
    score = metric_name(curves.score)
    reaching = next((point for point in reference if point.mean >= own.mean), None)
    if reaching is None:
        return f" Its mean {score} is reached by no N up to {reference[-1].x:g}."
    oracles = [_point(curves, label, x, ORACLE) for label, x in ((found.label, found.x), (found.reference, reaching.x))]
    beside = ""
    if curves.score != ORACLE and oracles[0] is not None and oracles[1] is not None:
        beside = f" (oracle there {number(oracles[1].mean)}, the arm's {number(oracles[0].mean)})"
    return f" Its mean {score} is reached by the best of {reaching.x:g}{beside}."


def _order_sentence(found: Sequence[SamplingDifference]) -> str:
    first = found[0]
    name = f"{first.label} against {first.reference}, {metric_name(first.metric)}"
    better = [f"{one.x:g}" for one in found if one.direction > 0]
    worse = [f"{one.x:g}" for one in found if one.direction < 0]
    deltas = f"{signed(min(one.delta for one in found))} to {signed(max(one.delta for one in found))}"
    parts = [f"higher at T = {', '.join(better)}"] if better else []
    parts += [f"lower at T = {', '.join(worse)}"] if worse else []
    if not parts:
        return f"{name}: no difference can be shown at any temperature ({deltas})."
    rest = len(found) - len(better) - len(worse)
    open_ = ", not decided at the others" if rest else ""
    return f"{name}: {' and '.join(parts)} over prompts{open_} ({deltas})."


def _point(curves: SamplingCurves, label: str, x: float, metric: str) -> SamplingPoint | None:
    return next((one for one in curves.points if (one.label, one.x, one.metric) == (label, x, metric)), None)


def _kl(curves: SamplingCurves, label: str, x: float) -> float | None:
    return next((one.kl for one in curves.points if (one.label, one.x) == (label, x)), None)


def _size(found: SamplingDifference) -> str:
    ends = "" if found.low is None or found.high is None else f" [{number(found.low)}, {number(found.high)}]"
    level = f" at {percent(found.level)}" if found.level != 0.95 else ""
    return f"{signed(found.delta)}{ends}{level}"


def _flipped(found: SamplingDifference) -> str:
    if found.low is None or found.high is None:
        return ""
    return f"[{number(-found.high)}, {number(-found.low)}] at {percent(found.level)}"
