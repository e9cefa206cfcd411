"""Write the page of the shipped tickets: `python results/shipped.py < words.md > results/zoo/README.md`."""

from __future__ import annotations

import sys

from page import table_lines

from oneticket.publish.shipped import shipped
from oneticket.stats.scores import score_table
from oneticket.stats.words import percent
from oneticket.ticket.describe import data, network
from oneticket.ticket.ticket import Ticket

lines = [sys.stdin.read().strip(), ""]
for name, path in shipped().items():
    ticket = Ticket.load(path)
    lines += [f"## {name}", ""]
    lines += [
        f"{network(ticket)}, found on {data(ticket)}, level {ticket.lineage['level']}: {ticket.mask.living:,} of "
        f"{ticket.mask.total:,} weights live, {percent(ticket.density)}; {path.stat().st_size:,} bytes. "
        f"In its search it reached {ticket.evidence['accuracy']:.3f} (one training)."
    ]
    lines += ["", *table_lines(score_table(ticket.evidence["scores"]))]
sys.stdout.write("\n".join(lines).strip() + "\n")
