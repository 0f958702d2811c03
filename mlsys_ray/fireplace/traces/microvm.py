"""A generator of micro-VM traces, calibrated to published statistics.

From Shahrad et al., "Serverless in the Wild" (ATC 2020): the log-normal law of execution times, the
Burr law of allocated memory, and that few functions make most invocations in bursts with timers and
a daily cycle. The rest (lives of sandboxes, use over a life, the popularity of functions among
sandboxes rather than invocations) is this project's own design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import burr12, norm

from mlsys_ray.fireplace.trace import Trace, presence

DAY = 86_400.0
MEMORY_LAW = burr12(11.652, 0.221, scale=107.083)
"""Allocated memory [MiB]: Burr, c = 11.652, k = 0.221, scale 107.083 (ATC 2020, section 3.5)."""
MEMORY_SIZES = np.array([128, 192, 256, 384, 512, 768, 1024, 1536])
"""Sizes that can be requested [MiB]; an allocation is rounded up to the next."""
MEMORY_PER_CORE = 1769.0
"""MiB of requested memory for one core of requested CPU."""
BURST_SIZES = np.array([1, 4, 16])
TIMER_SHARE = 0.25
DAILY_SWING = 0.35
LONGEST_EXECUTION = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lives:
    """The law of the life of a VM: log-normal between functions and within one."""

    log_mean: float
    between: float
    within: float
    longest: float
    burst: float
    """Mean time between changes of a VM's CPU use [s]."""


LIVES = {
    "microvm": Lives(log_mean=np.log(60.0), between=1.5, within=0.8, longest=DAY, burst=30.0),
    "microvm-short": Lives(
        log_mean=-0.38, between=2.22, within=0.8, longest=LONGEST_EXECUTION, burst=10.0
    ),
}
"""Sandboxes that are kept for minutes, and VMs that live for one execution: ln-mean -0.38 and
ln-sigma 2.36 in all, as published (ATC 2020, section 3.4)."""


@dataclass(frozen=True, eq=False)
class Functions:
    """A population of functions, the same for every trace drawn from it. All arrays are `[F]`."""

    popularity: np.ndarray
    life_median: np.ndarray
    life_within: float
    life_longest: float
    memory: np.ndarray
    cpu_share: np.ndarray
    cpu_spread: np.ndarray
    cpu_duty: np.ndarray
    memory_share: np.ndarray
    burst_size: np.ndarray
    timer: np.ndarray

    @classmethod
    def draw(cls, lives: Lives, num_functions: int, seed: int) -> Functions:
        """Draw a population of functions."""
        rng = np.random.default_rng(seed)
        popularity = np.arange(1, num_functions + 1.0) ** -1.1
        popularity /= popularity.sum()
        # Medians are laid on the law's quantiles by popularity, so that the lives of VMs, most of
        # them of a few functions, follow the law and not the luck of those few.
        order = rng.permutation(num_functions)
        quantile = np.empty(num_functions)
        quantile[order] = np.cumsum(popularity[order]) - popularity[order] / 2
        allocated = MEMORY_LAW.rvs(num_functions, random_state=rng)
        size = np.minimum(np.searchsorted(MEMORY_SIZES, allocated), len(MEMORY_SIZES) - 1)
        return cls(
            popularity=popularity,
            life_median=np.exp(lives.log_mean + lives.between * norm.ppf(quantile)),
            life_within=lives.within,
            life_longest=lives.longest,
            memory=MEMORY_SIZES[size].astype(float),
            cpu_share=rng.beta(1.2, 3.0, num_functions),
            cpu_spread=rng.uniform(0.1, 0.6, num_functions),
            cpu_duty=rng.uniform(0.15, 1.0, num_functions),
            memory_share=rng.beta(4.0, 8.0, num_functions),
            burst_size=rng.choice(BURST_SIZES, num_functions, p=[0.6, 0.3, 0.1]),
            timer=rng.random(num_functions) < TIMER_SHARE,
        )

    def lives(self, function: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the life [s] of a VM of each function given, float64 `[N]`."""
        life = self.life_median[function] * np.exp(rng.normal(0, self.life_within, len(function)))
        return np.clip(life, 0.01, self.life_longest)

    @property
    def mean_life(self) -> float:
        """Mean life of the VMs that arrive [s], by Monte Carlo of a fixed seed."""
        rng = np.random.default_rng(0)
        function = rng.choice(len(self.popularity), 200_000, p=self.popularity)
        return float(self.lives(function, rng).mean())


def microvm(
    *,
    law: str = "microvm",
    num_vms: int = 100_000,
    alive: float = 2250.0,
    tick: float = 10.0,
    num_functions: int = 2000,
    population: int = 0,
    seed: int = 0,
) -> Trace:
    """Generate a trace.

    Args:
        law: of lives, a key of `LIVES`.
        num_vms: VMs in all.
        alive: mean number of VMs alive at one time, which sets the rate of arrivals.
        tick: telemetry interval [s].
        num_functions: functions of the population.
        population: seed of the functions. Traces of one population share what can be learned of a
            function.
        seed: seed of arrivals, lives and use.

    Returns:
        A trace of `num_vms` VMs with the resources cpu [cores] and memory [MiB].

    Raises:
        ValueError: the law is unknown, or a number is not above 0.
    """
    if law not in LIVES:
        raise ValueError(f"law is {law!r}; accepted: {', '.join(LIVES)}")
    if min(num_vms, alive, tick, num_functions) <= 0:
        raise ValueError(
            f"num_vms {num_vms}, alive {alive}, tick {tick} and num_functions {num_functions}"
            " must be above 0"
        )
    functions = Functions.draw(LIVES[law], num_functions, population)
    rng = np.random.default_rng([seed, population])
    arrival, function = _arrivals(functions, num_vms, functions.mean_life / alive, rng)
    end = arrival + functions.lives(function, rng)
    return Trace(
        name=law,
        tick=tick,
        resources=("cpu", "memory"),
        arrival=arrival,
        end=end,
        request=np.stack(
            [functions.memory[function] / MEMORY_PER_CORE, functions.memory[function]], axis=1
        ),
        function=function,
        functions=tuple(f"f{index}" for index in range(num_functions)),
        **_use(functions, LIVES[law].burst, arrival, end, function, tick, rng),
    )


def _arrivals(
    functions: Functions, num_vms: int, interval: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One VM per `interval` [s] on average, in bursts by timers or with a daily cycle."""
    # More are drawn than asked for, so that the last arrivals are as dense as the others.
    drawn = 1.1 * num_vms + 100
    horizon = drawn * interval
    bursts = rng.poisson(functions.popularity * drawn / functions.burst_size)
    function = np.repeat(np.arange(len(bursts)), bursts)
    phase = rng.random()
    moment = np.empty(len(function))
    # Thinning of a uniform draw gives the daily cycle.
    todo = np.arange(len(moment))
    while len(todo):
        moment[todo] = rng.uniform(0, horizon, len(todo))
        rate = 1 + DAILY_SWING * np.sin(2 * np.pi * (moment[todo] / DAY + phase))
        todo = todo[rng.random(len(todo)) * (1 + DAILY_SWING) > rate]
    timed = functions.timer[function]
    position = np.arange(len(function)) - np.repeat(np.cumsum(bursts) - bursts, bursts)
    period = horizon / np.maximum(bursts, 1)[function]
    first = rng.random(len(functions.timer))[function]
    moment[timed] = ((position + first) * period)[timed]
    size = functions.burst_size[function]
    vm_function = np.repeat(function, size)
    arrival = np.repeat(moment, size) + rng.exponential(0.2, len(vm_function))
    order = np.argsort(arrival, kind="stable")[:num_vms]
    return arrival[order], vm_function[order]


def _use(
    functions: Functions,
    burst: float,
    arrival: np.ndarray,
    end: np.ndarray,
    function: np.ndarray,
    tick: float,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """CPU in on/off bursts around the VM's mean, memory nearly steady."""
    offset, share = presence(arrival, end, tick)
    counts = np.diff(offset)
    entries = int(offset[-1])
    of_entry = function.repeat(counts)
    # A burst is drawn anew at a VM's first tick and then every `burst` seconds on average.
    redraw = rng.random(entries) < min(1.0, tick / burst)
    redraw[offset[:-1]] = True
    drawn = np.where(rng.random(entries) < functions.cpu_duty[of_entry], 1.0, 0.05)
    latest = np.maximum.accumulate(np.where(redraw, np.arange(entries), 0))
    spread = functions.cpu_spread[function]
    factor = np.exp(rng.normal(0, 1, len(function)) * spread - spread**2 / 2)
    cpu = (functions.cpu_share[function] * factor).repeat(counts) * drawn[latest]
    cpu *= np.exp(rng.normal(-0.02, 0.2, entries))
    memory = functions.memory_share[function] * np.exp(rng.normal(0, 0.1, len(function)))
    memory = memory.repeat(counts) * np.exp(rng.normal(0, 0.03, entries))
    requested = functions.memory[of_entry]
    use = np.stack(
        [
            np.minimum(cpu, 1.0) * share * requested / MEMORY_PER_CORE,
            np.minimum(memory, 1.0) * share * requested,
        ],
        axis=1,
    )
    return {"use": use.astype(np.float32), "use_offset": offset}
