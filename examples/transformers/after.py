"""Transformers: a small network learns the digits 5 to 9, from a ticket that was found on 0 to 4."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from transformers import Trainer, TrainingArguments

import oneticket
from oneticket.integrations.transformers import TicketCallback

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images[labels >= 5] / 16).float(), torch.tensor(labels[labels >= 5] - 5)
held_out = torch.arange(len(images)) % 5 == 0
seen = [{"x": x, "labels": y} for x, y in zip(images[~held_out], labels[~held_out], strict=True)]
asked = (images[held_out], labels[held_out])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 5))

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


torch.manual_seed(0)
model = Net()
ticket = oneticket.Ticket.load("digits.safetensors")
print(ticket.apply(model))
callback = TicketCallback(ticket)
settings = TrainingArguments(
    "out",
    use_cpu=True,
    num_train_epochs=5,
    per_device_train_batch_size=32,
    learning_rate=0.005,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    dataloader_pin_memory=False,
)
trainer = Trainer(model, settings, train_dataset=seen, callbacks=[callback])
trainer.train()

accuracy = (model.net(asked[0]).argmax(1) == asked[1]).float().mean().item()
print(f"accuracy {accuracy:.3f}: {callback.audit}")
