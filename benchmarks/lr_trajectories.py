"""The figure of docs/optimizers.md: lr along training, from several starts and β.

Run ``python -m benchmarks.lr_trajectories`` to make ``docs/lr_trajectories.svg`` again.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from hdsens.optim import SGDHD, AdamHD

STEPS = 600
STARTS = [0.0, 1e-4, 1e-3, 1e-2]
PANELS = [
    ("SGDHD, β = 1e-3", SGDHD, 1e-3),
    ("SGDHD, β = 1e-1", SGDHD, 1e-1),
    ("AdamHD, β = 1e-6", AdamHD, 1e-6),
    ("AdamHD, β = 1e-3", AdamHD, 1e-3),
]


def main() -> None:
    mpl.rcParams["svg.hashsalt"] = "hdsens"
    figure, axes = plt.subplots(1, len(PANELS), figsize=(11, 2.8), layout="constrained")
    for axis, (title, make, hypergrad_lr) in zip(axes, PANELS, strict=True):
        for width, start in zip((5, 3.5, 2, 1), STARTS, strict=True):  # so that none hides another
            axis.plot(train(make, start, hypergrad_lr), label=f"from {start:g}", linewidth=width)
        axis.set(title=title, xlabel="step")
    axes[0].set_ylabel("lr")
    axes[0].legend(fontsize="x-small")
    target = Path(__file__).parents[1] / "docs" / "lr_trajectories.svg"
    figure.savefig(target, metadata={"Date": None})
    print(target)


def train(make: type, lr: float, hypergrad_lr: float) -> list[float]:
    """The lr of every step of logistic regression on scikit-learn's digits, batches of 128."""
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 10)
    optimizer = make(model.parameters(), lr=lr, hypergrad_lr=hypergrad_lr, weight_decay=1e-4)
    lrs = []
    for _ in range(STEPS):
        batch = torch.randint(len(x), (128,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        lrs.append(optimizer.param_groups[0]["lr"])
    return lrs


if __name__ == "__main__":
    main()
