"""A loop of one's own finds tickets: a small network learns the digits 0 to 4, sparser each time."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import oneticket

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images[labels < 5] / 16).float(), torch.tensor(labels[labels < 5])
held_out = torch.arange(len(images)) % 5 == 0
seen, asked = TensorDataset(images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
batches = DataLoader(seen, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))


def train(model, optimizer):
    for _ in range(5):
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


def accuracy(model):
    return (model(asked[0]).argmax(1) == asked[1]).float().mean().item()


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 5))
search = oneticket.Search(model, lambda model: torch.optim.Adam(model.parameters(), lr=0.005), levels=6, fraction=0.25)
for level in search:
    train(level.model, level.optimizer)
    level.record(accuracy=accuracy(model))
    print(f"density {level.density:.3f}, accuracy {accuracy(model):.3f}: {level.guard.audit()}")
search.book.at(density=0.2).save("digits.safetensors")
