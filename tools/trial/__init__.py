"""trial -- what engram-partition and engram-soak are made of.  Read in this order: ledger.py
(what must be there), worker.py (who writes it), crew.py, cuts.py, then partition.py and soak.py.

Python's standard library is all it needs."""
