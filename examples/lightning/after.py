"""Lightning: a small network learns the digits 5 to 9, from a ticket that was found on 0 to 4."""

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import oneticket
from oneticket.integrations.lightning import TicketCallback

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images[labels >= 5] / 16).float(), torch.tensor(labels[labels >= 5] - 5)
held_out = torch.arange(len(images)) % 5 == 0
seen, asked = TensorDataset(images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
batches = DataLoader(seen, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 5))

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.005)


torch.manual_seed(0)
model = Net()
ticket = oneticket.Ticket.load("digits.safetensors")
print(ticket.apply(model))
callback = TicketCallback(ticket)
trainer = pl.Trainer(accelerator="cpu", max_epochs=5, barebones=True, callbacks=[callback])
trainer.fit(model, batches)

accuracy = (model.net(asked[0]).argmax(1) == asked[1]).float().mean().item()
print(f"accuracy {accuracy:.3f}: {callback.audit}")
