"""A ticket shared as a Hub folder, with its card: a small network learns the digits 5 to 9 from it."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import oneticket

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images[labels >= 5] / 16).float(), torch.tensor(labels[labels >= 5] - 5)
held_out = torch.arange(len(images)) % 5 == 0
seen, asked = TensorDataset(images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
batches = DataLoader(seen, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
oneticket.Ticket.load("digits.safetensors").push_to_hub("./shared/digits", data_license="CC-BY-4.0")
ticket = oneticket.Ticket.from_pretrained("./shared/digits")
print(ticket.apply(model))
guard = ticket.attach(model, optimizer)

for _ in range(5):
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

accuracy = (model(asked[0]).argmax(1) == asked[1]).float().mean().item()
print(f"accuracy {accuracy:.3f}: {guard.audit()}")
