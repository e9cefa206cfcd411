"""`oneticket demo`: the paper's core claim on embedded real data, in about a minute."""

from __future__ import annotations

from pathlib import Path

import torch

from oneticket.cli.find import make_folder, save_book
from oneticket.cli.rows import write_rows
from oneticket.cli.session import run_steps
from oneticket.cli.tables import out as stdout
from oneticket.cli.tables import print_tables
from oneticket.lottery.place import Place
from oneticket.study.demo import ARMS, CARRIED, LEVELS, SEARCHES, TARGETS, plan
from oneticket.study.rows import rows as rows_of
from oneticket.study.store import Store
from oneticket.ticket.book import Book, book_file


def demo(*, out: Path, store: Path, quiet: bool) -> int:
    """Find, carry, compare; leave books, a ticket, rows and a chart in `out`, and say in one sentence what was seen."""
    from oneticket.report.chart import accuracy_chart, write
    from oneticket.report.summary import pooled
    from oneticket.report.verdict import sentence

    for optimizer in SEARCHES:
        make_folder(out / f"digits-a-{optimizer}")
    torch.set_num_threads(1)  # networks this small gain nothing from a second one
    kept, place = Store(store), Place()
    searches, transfers = plan(place)
    told = stdout()
    if not quiet:
        told.print(
            f"Finding tickets of LeNet-300-100 on half a of scikit-learn's digits under {' and '.join(SEARCHES)}, and\n"
            f"carrying them to half b under {' and '.join(TARGETS)} beside {', '.join(ARMS)}.\n",
            highlight=False,
        )
    steps = [step for found in searches.values() for step in found] + list(transfers)
    piles = run_steps(steps, store=kept, place=place, quiet=quiet)
    for (optimizer, replicate), levels in searches.items():
        save_book(levels, kept, book_file(out / f"digits-a-{optimizer}", replicate))
    if piles.failed:
        return 1
    ticket = out / "ticket.safetensors"
    Book.load(out / "digits-a-sgd")[LEVELS].save(ticket)
    write_rows(rows_of(steps, kept), out / "rows.csv")
    found = rows_of(transfers, kept)
    pictures = write(accuracy_chart(found), out, "accuracy")
    if not quiet:
        told.print()
        print_tables(found, levels=CARRIED)
        for name, file in [("chart", pictures[0]), ("", pictures[1]), ("ticket", ticket), ("rows", out / "rows.csv")]:
            told.print(f"{name:7} {file}", highlight=False)
        told.print(f"\n{sentence(pooled(found))}", highlight=False, soft_wrap=True)
    return 0
