"""Sets, models and tasks of a user's own, for each kind of inputs: what `tables.KINDS` names by import path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.ground.metric import METRICS, Metric
from oneticket.task.task import Measure, Task


def rows() -> tuple[Any, ...]:
    """Digits as vectors of 64 numbers."""
    x, y = load_digits(return_X_y=True)
    return x[:400], y[:400], x[1600:], y[1600:]


def series() -> dict[str, Any]:
    """Digits as series of 8 channels and 8 steps: columns from left to right."""
    x, y = load_digits(return_X_y=True)
    grid = x.reshape(-1, 8, 8).astype(np.float32)
    return _named(grid[:400], y[:400], grid[1600:], y[1600:], kind="series")


def tokens() -> dict[str, Any]:
    """Digits as 64 tokens out of 17, how dark each point is."""
    x, y = load_digits(return_X_y=True)
    ids = x.astype(np.int64)
    return _named(ids[:400], y[:400], ids[1600:], y[1600:], kind="tokens", vocabulary=17)


def following() -> dict[str, Any]:
    """The same without labels: how dark is the next point?"""
    ids = load_digits(return_X_y=True)[0].astype(np.int64)
    train, test = ids[:400], ids[1600:]
    return _named(train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:], kind="tokens", vocabulary=17)


def numbers() -> tuple[Any, ...]:
    """Diabetes: ten numbers of 442 patients, and the course of the disease a year later."""
    x, y = load_diabetes(return_X_y=True)
    return x[:300], y[:300], x[300:], y[300:]


def _named(*arrays: Any, **about: Any) -> dict[str, Any]:
    return dict(zip(("train_inputs", "train_targets", "test_inputs", "test_targets"), arrays, strict=True)) | about


def filters(shape: tuple[int, int], classes: int) -> nn.Module:
    """Convolutions along a series."""
    channels, steps = shape
    body = (nn.Conv1d(channels, 12, 3, padding=1), nn.ReLU(), nn.Conv1d(12, 12, 3, padding=1), nn.ReLU())
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(12 * steps, classes))


def words(shape: tuple[int], vocabulary: int, outputs: int) -> nn.Module:
    """An embedding of every token, and hidden units over all of them."""
    wide = 4 * shape[0]
    return nn.Sequential(
        nn.Embedding(vocabulary, 4), nn.Flatten(), nn.Linear(wide, 24), nn.ReLU(), nn.Linear(24, outputs)
    )


def per_position(vocabulary: int, outputs: int) -> nn.Module:
    """Outputs for each token, out of that token alone."""
    return nn.Sequential(nn.Embedding(vocabulary, 16), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, outputs))


def nearness() -> Task:
    """Numbers, by the square of what is missed."""
    return Task(
        name="nearness",
        loss=_missed,
        measures={"rmse": Measure(metric=METRICS["rmse"], total=_squares, score=math.sqrt)},
        counts="rmse",
        targets="numbers",
    )


def next_token() -> Task:
    """The token that follows, by cross-entropy at each position; judged by the share that is right."""
    right = Measure(metric=Metric(name="right", low=0.0, high=1.0), total=_right)
    return Task(name="next", loss=_surprise, measures={"right": right}, counts="right", targets="tokens")


def _missed(output: Tensor, target: Tensor, reduction: str) -> Tensor:
    return F.mse_loss(output, target, reduction=reduction)


def _squares(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().sum()


def _surprise(output: Tensor, target: Tensor, reduction: str) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target.flatten(), reduction=reduction)


def _right(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(-1) == target).sum()


def missed_by_the_mean() -> float:
    """The root mean square error of the training part's mean on the test part of `numbers`."""
    _, train, _, test = map(torch.as_tensor, numbers())
    return float((test - train.mean()).square().mean().sqrt())
