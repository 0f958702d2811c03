"""Pictures of the loads of the PMs, without a plotting library."""

from __future__ import annotations

import numpy as np

HEIGHT, WIDTH, GAP = 160, 6, 2
COLOURS = np.array([[0, 114, 178], [213, 94, 0], [0, 158, 115], [181, 83, 141]], dtype=np.uint8)
BACKGROUND, LIMIT = 255, np.array([60, 60, 60], dtype=np.uint8)
SCALE = 1.25
"""Load at the top of the picture, as a part of the capacity."""
BLOCKS = " ▁▂▃▄▅▆▇█"


def render_rgb(load: np.ndarray) -> np.ndarray:
    """Bars of the load of every PM, one a resource, and a line at the capacity.

    Args:
        load: float `[P, D]`, use as a part of the capacity; the picture ends at 1.25.

    Returns:
        uint8 `[height, width, 3]`.
    """
    pms, resources = load.shape
    picture = np.full((HEIGHT, pms * (WIDTH * resources + GAP), 3), BACKGROUND, dtype=np.uint8)
    for pm in range(pms):
        for d in range(resources):
            left = pm * (WIDTH * resources + GAP) + d * WIDTH
            top = HEIGHT - int(min(load[pm, d] / SCALE, 1.0) * HEIGHT)
            picture[top:, left : left + WIDTH - 1] = COLOURS[d % len(COLOURS)]
    picture[HEIGHT - int(HEIGHT / SCALE)] = LIMIT
    return picture


def render_ansi(load: np.ndarray, tick: int, par: float) -> str:
    """A line of blocks a resource, relative to the most loaded PM of it."""
    lines = [f"tick {tick}  mean PAR {par:.3f}"]
    for d in range(load.shape[1]):
        largest = max(float(load[:, d].max()), 1e-12)
        levels = np.round(load[:, d] / largest * (len(BLOCKS) - 1)).astype(int)
        bars = "".join(BLOCKS[level] for level in levels)
        lines.append(f"{bars}  max {largest:.2f} mean {load[:, d].mean():.2f}")
    return "\n".join(lines) + "\n"
