"""The claims of the papers, from ``claims.yaml``: fixed before anything was measured.

The file's SHA-256 is printed in the book, so that a reader sees whether a claim was changed later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from mae_lib.ledger import paper

FILE = Path(__file__).with_name("claims.yaml")
TESTS = ("DIFF", "ORD", "TREND", "PEAK", "EXT", "EQ", "NI", "INT", "CORR", "RANK", "EXACT", "COST",
         "AUDIT")


@dataclass(frozen=True)
class Claim:
    """One claim.

    ``statement`` in our words; ``quantity`` that is measured and what is ``expected`` of it;
    ``test`` in words, ``tests`` by name; ``sesoi``, the smallest effect of interest, in units of
    the quantity; ``family``, the claims that are corrected together; ``audit``, whether the printed
    numbers agree with the printed sentence; ``published`` and ``published_ref``, those numbers.
    """

    id: str
    locus: str
    tier: str
    kind: str
    statement: str
    quantity: str
    expected: str
    test: str
    sesoi: str
    minimum_evidence: str
    audit: str
    family: str
    tests: tuple[str, ...]
    published: str = ""
    published_ref: str = ""
    note: str = ""

    @property
    def place(self) -> str:
        """Where the claim stands, for a reader: ``"Kong et al. 2023, Fig 5 row 1"``."""
        source, _, rest = self.locus.partition(" ")
        return paper.spelled_out(f"{source}, {rest}" if rest else source)


def claims(ids: Iterable[str]) -> list[Claim]:
    """The claims with these ids, in this order.

    Raises:
        ValueError: an unknown id.
    """
    ledger, ids = _load(), list(ids)
    if unknown := [i for i in ids if i not in ledger]:
        raise ValueError(f"ids must be claims of the ledger, got {', '.join(unknown)}")
    return [ledger[i] for i in ids]


def all_claims() -> list[Claim]:
    """Every claim, in the order of the file."""
    return list(_load().values())


def claims_about(locus: str) -> list[Claim]:
    """The claims made at a place, for example ``"S000 Fig 5"``; an empty list if there are none."""
    return [c for c in _load().values() if c.locus == locus or c.locus.startswith(
        (f"{locus} ", f"{locus},", f"{locus};"))]


def digest() -> str:
    """SHA-256 (hex) of the claims' file, with line ends as on Unix."""
    return hashlib.sha256(FILE.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


@cache
def _load() -> dict[str, Claim]:
    return parse(yaml.safe_load(FILE.read_text(encoding="utf-8"))["claims"])


def parse(entries: list[dict]) -> dict[str, Claim]:
    """Claims by id.

    Raises:
        ValueError: an id twice, an unknown test, a reference to no table.
    """
    ledger: dict[str, Claim] = {}
    for entry in entries:
        claim = Claim(**{**entry, "tests": tuple(entry["tests"])})
        _check(claim, ledger)
        ledger[claim.id] = claim
    return ledger


def _check(claim: Claim, others: dict[str, Claim]) -> None:
    if claim.id in others:
        raise ValueError(f"claim ids must be unique, got {claim.id} twice")
    if unknown := [t for t in claim.tests if t not in TESTS]:
        raise ValueError(f"tests of {claim.id} must be among {', '.join(TESTS)}, "
                         f"got {', '.join(unknown)}")
    references = [r.strip() for r in claim.published_ref.split(",") if r.strip()]
    if unknown := [r for r in references if r not in paper.names()]:
        raise ValueError(f"published_ref of {claim.id} must name printed tables, "
                         f"got {', '.join(unknown)}")
