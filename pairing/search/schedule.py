"""When the search does what: its numbers, each with the reason for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The numbers of the policy. What they were measured on is in ``docs/research/engine.md``."""

    temperature: float = 0.03
    """Metropolis's, in units of the logarithm of the MSE: about how much fresh samples change it."""
    order_patience: int = 40
    """Steps without a new best after which the search for the order alone has stalled …"""
    doubtful_patience: int = 12
    """… where the pairs are in doubt: an order that is fitted to wrong pairs for long is bent to make up for them."""
    drawn_patience: int = 5
    """Steps without a clear improvement after which an order for the pairs of a short logit search has stalled, and the
    repair of these: with right pairs each step or two is one, and a few wrong pairs let the order bend for long."""
    clear: float = 0.9
    """An MSE this part of the present one, or less, is clearly better; it ends the trials of a repair, too."""
    repair_patience: int = 20
    """Steps without a new best after which the repair of given pairs has stalled …"""
    best_patience: int = 30
    """… and after it the search for the order of the best pairs."""
    doubtful_part: float = 0.25
    """More wrong pairs than that part are too many for a repair: a logit search comes first."""
    doubtful_mse: float = 0.02
    """So may be an order that stalls at more than this part of the target's variance: 4 wrong pairs of the 48 of the
    real puzzle leave 1 to 3 %, 8 leave 3 to 4 % and 16 leave 8 to 14 %."""
    repairable_mse: float = 0.03
    """An order for the pairs of a logit search that leaves less than this part is worth a repair of these pairs."""
    plateau_restarts: int = 3
    """After so many logit searches it is rather the order that is to blame for that."""
    logit_steps: int = 400
    """Of a logit search in its sampled mode: many short ones are better than few long ones where those do at all …"""
    logit_blocks: int = 16
    """… in networks of so many blocks or more; smaller ones need less in proportion …"""
    long_logits: int = 3
    """… and every third one takes twice as many as the last such, for networks where they do not."""
    foothold_mse: float = 0.3
    """Where no more than this part of the target's variance is left, a logit search begins near the given pairs …"""
    foothold_steps: float = 0.5
    """… and needs only this part of the steps: 4 or 8 wrong pairs of 48 are put right in most of them."""
    logit_steps_at_once: int = 10
    """Between two looks at the clock; they take about as long as one MSE, and count as one."""
    usual_blocks: int = 48
    """Networks of more blocks get more patience in proportion, and longer perturbations."""
    scattered_mse: float = 0.1
    """An order that leaves more than this part of the target's variance is no good start …"""
    order_steps: int = 4
    """… and a search for the order alone gives a better one, of so many steps per block …"""
    order_blocks: int = 128
    """… in networks of so many blocks or fewer; others need more in proportion …"""
    most_order_steps: int = 2000
    """… but no more than these, which in very large networks take a minute."""
    relocation_interval: int = 4
    """A block is relocated every so many steps without a new best: it costs as much as several of them."""
    relocation_values: int = 128
    """Samples, times outputs, that relocations are priced on: enough to rank them."""
    relocation_trials: int = 5
    """Of the most promising relocations so many are tried: the price ranks the right one among the first."""
    window_rows: int = 13
    """Samples per block for a search near an order: about as many as pairs that it may turn round …"""
    most_window_rows: int = 2048
    """… but in large networks no more, which would take too long."""
    window_perturbations: int = 10
    """Perturbations per block without re-linearizing: more find nothing better there."""
    trusted_restarts: int = 2
    """Restarts from a random order before pairs that the weights are sure of may be repaired."""
    least_restarts: int = 2
    """Restarts after which the search has converged …"""
    restarts_times_blocks: int = 100
    """… or so many divided by the number of blocks: they are cheap where blocks are few."""
    least_repaired_restarts: int = 6
    """The same where pairs may be changed …"""
    least_doubtful_restarts: int = 12
    """… and where most of them are in doubt: the last logit search is 16 times as long as the first."""
    repair_reluctance: float = 0.6
    """How often no exchange is tried where none is likely: then it is the order that is wrong."""
