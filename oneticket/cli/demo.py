"""`oneticket demo`: the paper's core claim on embedded real data, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oneticket.cli.find import make_folder, save_book
from oneticket.cli.mistakes import exit_code
from oneticket.cli.session import run_steps
from oneticket.cli.status import telling
from oneticket.cli.tables import print_tables
from oneticket.engine.engine import Engine
from oneticket.ground.phase import phase
from oneticket.lottery.run_context import RunContext
from oneticket.report.export import write_rows
from oneticket.session.called import called
from oneticket.session.search import bound
from oneticket.session.terminal import paragraph, say
from oneticket.store.store import Store
from oneticket.study.design import keep_study
from oneticket.study.file import read_study
from oneticket.study.findings import findings
from oneticket.study.grid import plan
from oneticket.study.plan import searches
from oneticket.study.rows import rows as rows_of
from oneticket.ticket.book import Book
from oneticket.ticket.names import book_file
from oneticket.ticket.ticket import Ticket


def _of_ticket(row: dict[str, Any], ticket: Ticket, *, level: int) -> dict[str, Any]:
    """A row, with the id of the saved ticket if it is that ticket's row: `oneticket score` asks for it."""
    is_it = (row["arm"], row["source_optimizer"], row["level"], row["replicate"]) == ("ticket", "sgd", level, 0)
    return {**row, "source_id": ticket.id} if is_it else row


def demo(*, out: Path, store: str, quiet: bool) -> int:
    """Find, transfer, compare; write books, a ticket, rows and a chart to `out`, and print the result in a sentence."""
    from oneticket.charts.chart import write
    from oneticket.charts.scores import scores_chart
    from oneticket.report.page import write_report
    from oneticket.report.verdict import sentence
    from oneticket.stats.regroup import pooled, same_optimizer

    study, kept = read_study(Path("demo")), Store(store)
    context = RunContext(threads=study.threads)
    for optimizer in study.optimizers:
        make_folder(out / f"digits-a-{optimizer}")
    with phase("planning"):
        asked = plan(study, context)
    both = " and ".join(study.optimizers)
    if not quiet:
        say(
            f"Finding tickets of LeNet-300-100 on half a of scikit-learn's digits under {both}, and\n"
            f"training them on half b beside {', '.join(arm for arm in study.arms if arm != 'ticket')}.\n"
        )
    # The sparsest level is trained in the searches too, so that the books hold its score.
    origins = searches(asked.cells)
    steps = [step for origin in origins for step in origin.levels] + [cell.step for cell in asked.cells]
    read = [step for origin in origins for step in bound(origin)]
    keep_study(asked, kept)
    names = called(asked.cells, places=True)
    piles = run_steps(
        steps, store=kept, context=context, quiet=quiet, engine=Engine(), read=read, each=True, names=names
    )
    for origin in origins:
        save_book(origin, kept, book_file(out / f"digits-a-{origin.search['optimizer']['name']}", origin.replicate))
    if piles.failed:
        return exit_code(error for _, error in piles.failed)
    ticket = out / "ticket.safetensors"
    taken = Book.load(out / "digits-a-sgd")[max(study.levels)]
    taken.save(ticket)
    found = [_of_ticket(row, taken, level=max(study.levels)) for row in rows_of(asked.cells, kept)]
    write_rows(found, out / "rows.csv")
    with telling(quiet=quiet), phase("drawing the report"):
        pictures = write(scores_chart(found), out, "accuracy")
        shown = [row for row in found if {row["source_optimizer"], row["target_optimizer"]} <= {None, "sgd"}]
        page = write_report(findings(asked, kept), out / "report", method=shown)[0]
    if not quiet:
        say()
        print_tables(found, levels=study.levels)
        left = {"report": page, "chart": pictures[0], "ticket": ticket, "rows": out / "rows.csv"}
        for name, file in left.items():
            say(f"{name:7} {file}")
        say("\nAs the report judges it, over both optimizers, each ticket under its own:")
        paragraph(sentence(pooled(same_optimizer(found))))
    return 0
